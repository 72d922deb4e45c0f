//! The function calls of a script, as it was parsed.

use rhai::{AST, ASTNode, Expr, FnCallExpr, Position, Stmt};

/// One call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    /// The call.
    pub expr: &'a FnCallExpr,
    /// Where the function's name stands.
    pub position: Position,
    /// `value.name(..)`: the value is one more argument.
    pub method: bool,
}

impl<'a> Call<'a> {
    /// The module before `::`, when there is one.
    pub(super) fn module(&self) -> Option<&'a str> {
        self.expr.namespace.path.first().map(|ident| ident.name.as_str())
    }

    /// More than one module before the name.
    pub(super) fn is_nested(&self) -> bool {
        self.expr.namespace.path.len() > 1
    }

    /// An argument.
    pub(super) fn arg(&self, index: usize) -> Option<&'a Expr> {
        self.expr.args.get(index)
    }
}

/// Gives every call of the script but operators and closures' bodies by name. Three kinds of node hold calls: expressions,
/// method calls, and statements that are one call.
pub(super) fn each(ast: &AST, visit: &mut dyn FnMut(Call<'_>)) {
    ast.walk(&mut |path: &[ASTNode<'_>]| {
        let call = match path.last() {
            Some(ASTNode::Expr(Expr::FnCall(expr, position))) => Some((&**expr, *position, false)),
            Some(ASTNode::Expr(Expr::MethodCall(expr, position))) => Some((&**expr, *position, true)),
            Some(ASTNode::Stmt(Stmt::FnCall(expr, position))) => Some((&**expr, *position, false)),
            _ => None,
        };
        if let Some((expr, position, method)) = call
            && !expr.is_operator_call()
            && !expr.name.starts_with("anon$")
        {
            visit(Call { expr, position, method });
        }
        true
    });
}
