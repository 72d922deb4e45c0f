//! The custom fields that `rules.toml` declares, in an account that nobody can make them in.
//!
//! Invariants: what is declared is there, under its name, with its type and at least its options; a field of the account's own that is
//! declared with another type gives way, with what records hold of it.

use super::entity::Entity;
use super::field_routes;
use super::world::World;
use crate::config::{DeclaredField, DeclaredFields};

/// Adds what is missing.
pub(super) fn add(world: &mut World, declared: &DeclaredFields) {
    for (entity, fields) in
        [(Entity::Person, &declared.person), (Entity::Organization, &declared.organization), (Entity::Deal, &declared.deal)]
    {
        fields.iter().for_each(|field| one(world, entity, field));
    }
}

fn one(world: &mut World, entity: Entity, declared: &DeclaredField) {
    let kind = declared.field_type.to_string();
    let labels: Vec<&str> = declared.options.iter().map(String::as_str).collect();
    let there = world.fields(entity).by_name(&declared.name).map(|field| (field.code.clone(), field.kind == kind));
    match there {
        Some((code, true)) => {
            for label in labels {
                if world.fields(entity).get(&code).is_some_and(|field| field.options.iter().any(|o| o.label == label)) {
                    continue;
                }
                let option = field_routes::new_option(world, label);
                if let Some(field) = world.fields_mut(entity).get_mut(&code) {
                    field.options.push(option);
                }
            }
        }
        Some((code, false)) => {
            field_routes::remove(world, entity, &code);
            field_routes::add(world, entity, &declared.name, &kind, &labels);
        }
        None => drop(field_routes::add(world, entity, &declared.name, &kind, &labels)),
    }
}
