//! Which module uses which, read from the parsed sources of a crate.
//!
//! A use is a path: in an import, an expression, a type, a pattern, an attribute, or among the tokens of a macro. A method
//! call names no module, so it is none.

use proc_macro2::{Spacing, TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use syn::visit::{self, Visit};
use syn::{Attribute, Ident, Item, Meta, UseTree, Visibility};

/// How `main.rs` names the library.
const LIBRARY: &str = "functiongraph_operator";

/// The modules of a crate. Each has its path without `crate::` as its name; the crate root has the empty name.
pub struct Graph {
    modules: BTreeMap<String, Module>,
    pub uses: Vec<Use>,
}

/// One module of the graph, with the names that its code can see.
#[derive(Default)]
struct Module {
    file: String,
    test: bool,
    items: BTreeSet<String>,
    imports: Vec<Import>,
    /// Every path in its code, with the line.
    mentions: Vec<(Vec<String>, usize)>,
}

/// A name that stands for a path, or all names behind a path.
struct Import {
    /// `None` for a glob.
    name: Option<String>,
    path: Vec<String>,
    /// Only this module and those below it see it.
    private: bool,
}

/// One module uses another.
pub struct Use {
    pub from: String,
    pub to: String,
    /// `to` does not define what is used: it imports it from a module that is not below it.
    pub passed_on: bool,
    /// `from` is compiled for tests only.
    pub test: bool,
    pub written: String,
    pub file: String,
    pub line: usize,
}

/// The modules that a path leads to.
#[derive(Default)]
struct Found {
    definers: BTreeSet<String>,
    passers_on: BTreeSet<String>,
    /// Names that were resolved already: an import may have the name of what it imports.
    seen: BTreeSet<(String, String)>,
}

impl Graph {
    /// Reads a crate. `sources`: the text of each file, by its path below `src/`.
    ///
    /// # Errors
    /// When a file cannot be parsed, or no module declares it.
    pub fn of(sources: &BTreeMap<String, String>) -> Result<Self, String> {
        let mut modules = BTreeMap::new();
        let mut undeclared: BTreeSet<&String> = sources.keys().collect();
        let roots = [("", "lib.rs"), ("main", "main.rs")];
        let mut declared: VecDeque<_> =
            roots.map(|(name, file)| (name.into(), file.to_owned(), false)).into();
        while let Some((name, file, test)) = declared.pop_front() {
            let Some(text) = sources.get(&file) else { continue };
            undeclared.remove(&file);
            let parsed = syn::parse_file(text).map_err(|error| format!("src/{file}: {error}"))?;
            let mut reader = Reader { name, file, test, modules, declared };
            reader.module();
            reader.visit_file(&parsed);
            (modules, declared) = (reader.modules, reader.declared);
        }
        if let Some(file) = undeclared.first() {
            return Err(format!("src/{file}: no module declares this file"));
        }
        let mut graph = Self { modules, uses: Vec::new() };
        graph.uses = graph.modules.iter().flat_map(|(name, module)| graph.uses_of(name, module)).collect();
        Ok(graph)
    }

    /// The modules at the top of the crate, each with its file.
    pub fn top_modules(&self) -> impl Iterator<Item = (&str, &str)> {
        let names = self.modules.iter().filter(|(name, _)| !name.is_empty() && !name.contains("::"));
        names.map(|(name, module)| (name.as_str(), module.file.as_str()))
    }

    /// The files, by their paths below `src/`, that hold more than tests.
    pub fn product_files(&self) -> BTreeSet<String> {
        self.modules.values().filter(|module| !module.test).map(|module| module.file.clone()).collect()
    }

    /// What a module uses, each other module once.
    fn uses_of(&self, from: &str, module: &Module) -> Vec<Use> {
        let mut uses = BTreeMap::new();
        for (path, line) in &module.mentions {
            if path.len() == 1 && (module.has_no_glob() || self.modules.contains_key(&join(from, &path[0]))) {
                continue; // a local name, unless a glob import brings it
            }
            let mut found = Found::default();
            self.resolve(from, path, &mut found);
            let definers = found.definers.into_iter().map(|to| (to, false));
            let all = definers.chain(found.passers_on.into_iter().map(|to| (to, true)));
            for (to, passed_on) in all.filter(|(to, _)| to != from) {
                uses.entry((to.clone(), passed_on)).or_insert_with(|| Use {
                    from: from.to_owned(),
                    to,
                    passed_on,
                    test: module.test,
                    written: path.join("::"),
                    file: format!("src/{}", module.file),
                    line: *line,
                });
            }
        }
        uses.into_values().collect()
    }

    /// Adds the modules that `path`, written in module `from`, leads to.
    fn resolve(&self, from: &str, path: &[String], found: &mut Found) {
        let (mut at, mut rest) = (from, path);
        while let Some((first, others)) = rest.split_first() {
            match first.as_str() {
                "crate" | LIBRARY => at = "",
                "super" => at = parent(at),
                "self" => {}
                _ => break,
            }
            rest = others;
        }
        self.descend(from, at, rest, found);
    }

    /// Adds the modules that `path`, relative to module `at` and written in `from`, leads to.
    fn descend(&self, from: &str, at: &str, path: &[String], found: &mut Found) {
        let (Some(module), Some((name, others))) = (self.modules.get(at), path.split_first()) else {
            found.definers.insert(at.to_owned());
            return;
        };
        let child = join(at, name);
        let is_module = self.modules.contains_key(&child);
        if is_module {
            self.descend(from, &child, others, found);
        }
        if is_module && !others.is_empty() || !found.seen.insert((at.to_owned(), name.clone())) {
            return;
        }
        let visible = module.imports.iter().filter(|import| import.is_visible(at, from));
        let brings = |import: &&Import| match &import.name {
            Some(here) => here == name,
            None => self.offers(at, &import.path, name, found),
        };
        let imports: Vec<&Import> = visible.filter(brings).collect();
        // What is neither a module nor imported is defined here, even if a macro or a derive writes it.
        if module.items.contains(name) || !is_module && imports.is_empty() {
            found.definers.insert(at.to_owned());
        }
        for Import { name: here, path, .. } in imports {
            let glob = here.is_none().then_some(name);
            let path: Vec<String> = path.iter().chain(glob).chain(others).cloned().collect();
            let mut behind = Found { seen: found.seen.clone(), ..Found::default() };
            self.resolve(at, &path, &mut behind);
            if behind.definers.iter().any(|definer| !is_within(definer, at)) {
                found.passers_on.insert(at.to_owned());
            }
            found.definers.extend(behind.definers);
            found.passers_on.extend(behind.passers_on);
        }
    }

    /// Whether a glob import of `path` in module `at` brings `name`.
    fn offers(&self, at: &str, path: &[String], name: &str, found: &Found) -> bool {
        let mut behind = Found { seen: found.seen.clone(), ..Found::default() };
        self.resolve(at, path, &mut behind);
        behind.definers.iter().filter(|module| *module != at).any(|module| {
            let Module { items, imports, .. } = &self.modules[module];
            let mut visible = imports.iter().filter(|import| import.is_visible(module, at));
            items.contains(name) || visible.any(|import| import.name.as_deref() == Some(name))
        })
    }
}

impl Module {
    fn has_no_glob(&self) -> bool {
        self.imports.iter().all(|import| import.name.is_some())
    }
}

impl Import {
    /// Whether the import, which is in module `at`, counts for code in module `from`.
    fn is_visible(&self, at: &str, from: &str) -> bool {
        !self.private || is_within(from, at)
    }
}

/// The module that `name` is in.
fn parent(name: &str) -> &str {
    name.rsplit_once("::").map_or("", |(parent, _)| parent)
}

fn join(module: &str, name: &str) -> String {
    if module.is_empty() { name.to_owned() } else { format!("{module}::{name}") }
}

/// Whether `module` is `ancestor` or below it.
pub fn is_within(module: &str, ancestor: &str) -> bool {
    let below = module.strip_prefix(ancestor);
    ancestor.is_empty() || below.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Whether the attributes say `#[cfg(test)]`.
pub fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        Meta::Path(_) | Meta::NameValue(_) => false,
    })
}

/// Reads one file.
struct Reader {
    /// The module that is being read.
    name: String,
    file: String,
    test: bool,
    modules: BTreeMap<String, Module>,
    /// Modules with files that are not read yet: name, file, and whether they are for tests.
    declared: VecDeque<(String, String, bool)>,
}

impl Reader {
    fn module(&mut self) -> &mut Module {
        self.modules.entry(self.name.clone()).or_insert_with(|| Module {
            file: self.file.clone(),
            test: self.test,
            ..Module::default()
        })
    }

    fn mention(&mut self, path: Vec<String>, first: &Ident) {
        self.module().mentions.push((path, first.span().start().line));
    }

    fn import(&mut self, tree: &UseTree, before: &[String], private: bool) {
        match tree {
            UseTree::Path(path) => {
                let before: Vec<String> = before.iter().cloned().chain([path.ident.to_string()]).collect();
                if let UseTree::Glob(_) = &*path.tree {
                    self.mention(before.clone(), &path.ident);
                }
                self.import(&path.tree, &before, private);
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.import(tree, before, private)),
            UseTree::Name(name) => self.imported(&name.ident, None, before, private),
            UseTree::Rename(rename) => self.imported(&rename.ident, Some(&rename.rename), before, private),
            UseTree::Glob(_) => {
                self.module().imports.push(Import { name: None, path: before.to_vec(), private });
            }
        }
    }

    fn imported(&mut self, ident: &Ident, rename: Option<&Ident>, before: &[String], private: bool) {
        let mut path = before.to_vec();
        if ident != "self" {
            path.push(ident.to_string());
        }
        let name = rename.map(ToString::to_string).or_else(|| path.last().cloned());
        self.module().imports.push(Import { name, path: path.clone(), private });
        self.mention(path, ident);
    }

    /// Reads the paths among tokens that only a macro can parse.
    fn scan(&mut self, tokens: &TokenStream) {
        let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
        let mut rest = tokens.as_slice();
        while let [first, others @ ..] = rest {
            rest = others;
            match first {
                TokenTree::Group(group) => self.scan(&group.stream()),
                TokenTree::Ident(first) => {
                    let mut path = vec![first.to_string()];
                    while let [
                        TokenTree::Punct(one),
                        TokenTree::Punct(two),
                        TokenTree::Ident(next),
                        others @ ..,
                    ] = rest
                        && (one.as_char(), one.spacing(), two.as_char()) == (':', Spacing::Joint, ':')
                    {
                        path.push(next.to_string());
                        rest = others;
                    }
                    self.mention(path, first);
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        let name = match item {
            Item::Const(item) => Some(&item.ident),
            Item::Enum(item) => Some(&item.ident),
            Item::Fn(item) => Some(&item.sig.ident),
            Item::Macro(item) => item.ident.as_ref(),
            Item::Static(item) => Some(&item.ident),
            Item::Struct(item) => Some(&item.ident),
            Item::Trait(item) => Some(&item.ident),
            Item::Type(item) => Some(&item.ident),
            Item::Union(item) => Some(&item.ident),
            _ => None,
        };
        self.module().items.extend(name.map(ToString::to_string));
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let name = join(&self.name, &item.ident.to_string());
        let test = self.test || is_for_tests(&item.attrs);
        if item.content.is_none() {
            let file = format!("{}.rs", name.replace("::", "/"));
            self.declared.push_back((name, file, test));
            return;
        }
        let outer = (std::mem::replace(&mut self.name, name), std::mem::replace(&mut self.test, test));
        self.module();
        visit::visit_item_mod(self, item);
        (self.name, self.test) = outer;
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if item.leading_colon.is_none() {
            self.import(&item.tree, &[], matches!(item.vis, Visibility::Inherited));
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            let names = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.mention(names, &path.segments[0].ident);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        visit::visit_macro(self, called);
        self.scan(&called.tokens);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.scan(&list.tokens);
        }
    }

    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {} // `pub(super)` uses nothing
}
