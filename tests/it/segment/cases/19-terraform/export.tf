resource "segment_destination_subscription" "id-aaa" {
  action_id            = "opaque1"
  destination_id       = "d1"
  enabled              = true
  model_id             = null
  name                 = "Sync users"
  reverse_etl_schedule = null
  settings = jsonencode({
    email       = { "@path" = "$.traits.email" }
    match_value = { "@path" = "$.userId" }
    name        = { "@if" = { exists = { "@path" = "$.traits.name" }, then = { "@path" = "$.traits.name" } } }
  })
  trigger = "type = \"identify\""
}

resource "segment_destination_subscription" "id-bbb" {
  action_id      = "opaque2"
  destination_id = "d1"
  enabled        = true
  name           = "Sync groups"
  settings       = "{\"match_field\":\"Segment Group ID\",\"match_value\":{\"@path\":\"$.groupId\"},\"name\":{\"@path\":\"$.traits.name\"}}"
  trigger        = "type = \"group\""
}
