//! The functions of a file: how long each is, and whether it has a result in a result.

use crate::graph::is_for_tests;
use syn::visit::{self, Visit};
use syn::{Block, GenericArgument, Ident, PathArguments, PathSegment, Type};

/// One function.
#[derive(Debug, PartialEq)]
pub struct Function {
    pub name: String,
    /// Lines between the braces of its body.
    pub lines: usize,
    /// `Result<Result<…>>` occurs in it or in its signature.
    pub nested_result: bool,
}

/// The functions of a file, tests apart.
///
/// # Errors
/// When the file cannot be parsed.
pub fn functions(text: &str) -> syn::Result<Vec<Function>> {
    let mut reader = Reader::default();
    reader.visit_file(&syn::parse_file(text)?);
    Ok(reader.functions)
}

#[derive(Default)]
struct Reader {
    functions: Vec<Function>,
    nested_result: bool,
}

impl Reader {
    fn function(&mut self, name: &Ident, body: &Block, read: impl FnOnce(&mut Self)) {
        let outer = std::mem::take(&mut self.nested_result);
        read(self);
        let nested_result = std::mem::replace(&mut self.nested_result, outer);
        let braces = body.brace_token.span;
        let lines = (braces.close().start().line - braces.open().start().line).saturating_sub(1);
        self.functions.push(Function { name: name.to_string(), lines, nested_result });
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig.ident, &item.block, |reader| visit::visit_item_fn(reader, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig.ident, &item.block, |reader| visit::visit_impl_item_fn(reader, item));
    }

    fn visit_path_segment(&mut self, segment: &'ast PathSegment) {
        self.nested_result |= segment.ident == "Result" && first_argument(segment).is_some_and(is_result);
        visit::visit_path_segment(self, segment);
    }
}

fn first_argument(segment: &PathSegment) -> Option<&Type> {
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return None };
    let Some(GenericArgument::Type(first)) = arguments.args.first() else { return None };
    Some(first)
}

fn is_result(type_: &Type) -> bool {
    matches!(type_, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Result"))
}
