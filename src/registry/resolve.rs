//! Which version of each plugin that it depends on a version uses. Pure: what is registered goes in, choices
//! or an explanation come out. Versions run side by side, so two plugins may use different versions of a third;
//! what cannot be is a plugin that needs itself.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use semver::{Version, VersionReq};

use crate::package::manifest::Dependency;

/// At most so many candidates are named in an explanation.
const NAMED_MAX: usize = 8;

/// Dependency → version, for one version of a plugin.
pub type Choices = BTreeMap<Arc<str>, Version>;

/// One version, as far as the choice must know it.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub name: Arc<str>,
    pub version: Version,
    pub dependencies: Vec<Dependency>,
    pub standing: Standing,
}

/// Whether a version may be chosen anew. The best comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    Disabled,
    HeldBack,
    Failed,
    Running,
}

/// Why a version cannot be used. Its text follows cargo's.
#[derive(Clone, Debug, PartialEq)]
pub enum Unresolved {
    Missing {
        by: String,
        dependency: Dependency,
        similar: Option<Arc<str>>,
    },
    NoFit {
        by: String,
        dependency: Dependency,
        /// The operator's range, if it shuts out versions that would fit.
        allowed: Option<VersionReq>,
        candidates: Vec<String>,
    },
    /// From the plugin to itself; each with the dependency that leads on.
    Cycle(Vec<(String, Dependency)>),
}

/// What there is to choose from.
pub struct Universe<'a> {
    /// By name; the order within a name is of no matter.
    pub candidates: &'a BTreeMap<Arc<str>, Vec<Candidate>>,
    /// The operator's ranges.
    pub allowed: &'a BTreeMap<String, VersionReq>,
}

impl Universe<'_> {
    /// Chooses for one version. `locked` choices stay as long as they fit; everything else gets the highest
    /// version that does. A dependency that is not required may stay without one.
    pub fn choose(&self, plugin: &Candidate, locked: &Choices) -> Result<Choices, Unresolved> {
        self.refuse_cycle(plugin)?;
        let mut choices = Choices::new();
        for dependency in &plugin.dependencies {
            match self.choose_one(plugin, dependency, locked.get(dependency.name.as_str())) {
                Ok(version) => drop(choices.insert(dependency.name.shared(), version)),
                Err(unresolved) if dependency.required => return Err(unresolved),
                Err(_) => {}
            }
        }
        Ok(choices)
    }

    fn choose_one(
        &self,
        plugin: &Candidate,
        dependency: &Dependency,
        locked: Option<&Version>,
    ) -> Result<Version, Unresolved> {
        let name = dependency.name.as_str();
        let all = self.candidates.get(name).map_or(&[][..], Vec::as_slice);
        let fitting = || all.iter().filter(|candidate| dependency.version.matches(&candidate.version));
        if let Some(locked) = locked
            && fitting().any(|candidate| candidate.version == *locked)
        {
            return Ok(locked.clone());
        }
        let allowed = self.allowed.get(name);
        let may = |candidate: &&Candidate| {
            candidate.standing >= Standing::Failed
                && allowed.is_none_or(|allowed| allowed.matches(&candidate.version))
        };
        let best =
            fitting().filter(may).max_by(|a, b| (a.standing, &a.version).cmp(&(b.standing, &b.version)));
        best.map(|candidate| candidate.version.clone()).ok_or_else(|| self.explain(plugin, dependency, all))
    }

    fn explain(&self, plugin: &Candidate, dependency: &Dependency, all: &[Candidate]) -> Unresolved {
        let (by, dependency) = (plugin.to_string(), dependency.clone());
        let name = dependency.name.as_str();
        if all.is_empty() {
            let similar = self.candidates.keys().map(|known| (strsim::jaro_winkler(known, name), known));
            let best = similar.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|best| best.0 > SIMILAR_MIN);
            return Unresolved::Missing { by, dependency, similar: best.map(|(_, known)| known.clone()) };
        }
        let mut named: Vec<_> = all.iter().collect();
        named.sort_by(|a, b| b.version.cmp(&a.version));
        let candidates = named.iter().take(NAMED_MAX).map(|candidate| match candidate.standing {
            Standing::Disabled => format!("{} (disabled)", candidate.version),
            Standing::HeldBack => format!("{} (rolled back)", candidate.version),
            Standing::Failed | Standing::Running => candidate.version.to_string(),
        });
        let candidates = candidates.collect();
        let shuts_out = |allowed: &&VersionReq| {
            all.iter().any(|candidate| {
                dependency.version.matches(&candidate.version) && !allowed.matches(&candidate.version)
            })
        };
        let allowed = self.allowed.get(name).filter(shuts_out).cloned();
        Unresolved::NoFit { by, dependency, allowed, candidates }
    }

    /// Names alone decide: whichever versions are chosen now, another choice must not close a circle later.
    pub fn refuse_cycle(&self, plugin: &Candidate) -> Result<(), Unresolved> {
        let mut way = Vec::new();
        let mut seen = HashSet::new();
        if self.leads_to(&plugin.name, plugin, &mut seen, &mut way) {
            way.reverse();
            return Err(Unresolved::Cycle(way));
        }
        Ok(())
    }

    /// Whether `from` needs `goal`, over however many others; the way there is left in `way`, last step first.
    fn leads_to<'a>(
        &'a self,
        goal: &str,
        from: &Candidate,
        seen: &mut HashSet<(&'a str, &'a Version)>,
        way: &mut Vec<(String, Dependency)>,
    ) -> bool {
        for dependency in &from.dependencies {
            let all = self.candidates.get(dependency.name.as_str()).into_iter().flatten();
            let mut fitting = all.filter(|candidate| dependency.version.matches(&candidate.version));
            let leads = |next: &'a Candidate| {
                seen.insert((&next.name, &next.version)) && self.leads_to(goal, next, seen, way)
            };
            if dependency.name.as_str() == goal || fitting.any(leads) {
                way.push((from.to_string(), dependency.clone()));
                return true;
            }
        }
        false
    }
}

/// How alike a name must be to be proposed (Jaro-Winkler, 0 to 1).
const SIMILAR_MIN: f64 = 0.84;

/// The order in which versions that arrive together are to be registered: each after those that it may need.
/// Members of a circle come too, in any place: choosing for them explains it.
pub fn order(arriving: &[Candidate]) -> Vec<usize> {
    fn visit(index: usize, arriving: &[Candidate], by_name: &BTreeMap<&str, Vec<usize>>, state: &mut Order) {
        if std::mem::replace(&mut state.visited[index], true) {
            return;
        }
        for dependency in &arriving[index].dependencies {
            for next in by_name.get(dependency.name.as_str()).into_iter().flatten() {
                visit(*next, arriving, by_name, state);
            }
        }
        state.order.push(index);
    }
    struct Order {
        visited: Vec<bool>,
        order: Vec<usize>,
    }
    let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, candidate) in arriving.iter().enumerate() {
        by_name.entry(&candidate.name).or_default().push(index);
    }
    let mut state = Order { visited: vec![false; arriving.len()], order: Vec::with_capacity(arriving.len()) };
    (0..arriving.len()).for_each(|index| visit(index, arriving, &by_name, &mut state));
    state.order
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{} {}`", self.name, self.version)
    }
}

impl std::error::Error for Unresolved {}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unresolved::Missing { by, dependency, similar } => {
                write!(f, "no plugin `{}` is registered\n", dependency.name)?;
                write!(f, "required by plugin {by}, which needs {}", dependency.version)?;
                similar
                    .as_ref()
                    .map_or(Ok(()), |similar| write!(f, "\na plugin of a similar name is: {similar}"))
            }
            Unresolved::NoFit { by, dependency, allowed, candidates } => {
                let (name, range) = (&dependency.name, &dependency.version);
                write!(f, "failed to select a version for the requirement `{name} = \"{range}\"`\n")?;
                write!(f, "candidate versions found which didn't match: {}\n", candidates.join(", "))?;
                if let Some(allowed) = allowed {
                    write!(
                        f,
                        "the configuration allows {name} only as {allowed} (plugins.{name}.version)\n"
                    )?;
                }
                write!(f, "required by plugin {by}")
            }
            Unresolved::Cycle(way) => {
                let (first, _) = &way[0];
                write!(
                    f,
                    "cyclic plugin dependency: plugin {first} depends on itself. Cycle:\nplugin {first}"
                )?;
                way.iter().rev().try_for_each(|(plugin, dependency)| {
                    let (name, range) = (&dependency.name, &dependency.version);
                    write!(
                        f,
                        "\n    ... which satisfies dependency `{name} = \"{range}\"` of plugin {plugin}"
                    )
                })
            }
        }
    }
}

impl Unresolved {
    pub fn help(&self) -> String {
        match self {
            Unresolved::Missing { dependency, .. } => {
                format!("register a version of {} that fits {} first", dependency.name, dependency.version)
            }
            Unresolved::NoFit { dependency, allowed: None, .. } => {
                format!(
                    "register a version of {} that fits, or widen the range in the manifest",
                    dependency.name
                )
            }
            Unresolved::NoFit { dependency, .. } => {
                format!(
                    "widen plugins.{}.version in the configuration, or the range in the manifest",
                    dependency.name
                )
            }
            Unresolved::Cycle(_) => "move what both need into a plugin of its own".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::name::PluginName;

    /// `name version: dependency range, …`; a `?` before a dependency: not required.
    fn candidate(text: &str) -> Candidate {
        let (head, needs) = text.split_once(':').unwrap_or((text, ""));
        let mut head = head.split_whitespace();
        let (name, version) = (head.next().unwrap(), head.next().unwrap());
        let standing = match head.next() {
            Some("disabled") => Standing::Disabled,
            Some("held") => Standing::HeldBack,
            Some("failed") => Standing::Failed,
            _ => Standing::Running,
        };
        let dependency = |text: &str| {
            let (name, range) = text.trim().split_once(' ').unwrap();
            Dependency {
                name: PluginName::parse(name.trim_start_matches('?')).unwrap(),
                version: range.parse().unwrap(),
                required: !name.starts_with('?'),
            }
        };
        let dependencies = needs.split(';').filter(|text| !text.trim().is_empty()).map(dependency).collect();
        Candidate { name: name.into(), version: version.parse().unwrap(), dependencies, standing }
    }

    fn resolve(
        known: &[&str],
        allowed: &[(&str, &str)],
        plugin: &str,
        locked: &[(&str, &str)],
    ) -> Result<String, String> {
        let mut candidates: BTreeMap<Arc<str>, Vec<Candidate>> = BTreeMap::new();
        for text in known {
            let candidate = candidate(text);
            candidates.entry(candidate.name.clone()).or_default().push(candidate);
        }
        let allowed =
            allowed.iter().map(|(name, range)| ((*name).to_owned(), range.parse().unwrap())).collect();
        let locked =
            locked.iter().map(|(name, version)| ((*name).into(), version.parse().unwrap())).collect();
        let universe = Universe { candidates: &candidates, allowed: &allowed };
        let choices =
            universe.choose(&candidate(plugin), &locked).map_err(|unresolved| unresolved.to_string())?;
        Ok(choices.iter().map(|(name, version)| format!("{name} {version}")).collect::<Vec<_>>().join(", "))
    }

    const UTILS: [&str; 5] = [
        "core-utils 2.2.9",
        "core-utils 2.3.1",
        "core-utils 2.4.0",
        "core-utils 2.5.0-rc.1",
        "core-utils 3.0.0",
    ];

    #[test]
    fn the_highest_that_fits_unless_another_is_locked() {
        let plugin = "logger 1.0.0: core-utils ^2.3.0";
        assert_eq!(resolve(&UTILS, &[], plugin, &[]).unwrap(), "core-utils 2.4.0");
        assert_eq!(resolve(&UTILS, &[], plugin, &[("core-utils", "2.3.1")]).unwrap(), "core-utils 2.3.1");
        assert_eq!(resolve(&UTILS, &[], plugin, &[("core-utils", "2.2.9")]).unwrap(), "core-utils 2.4.0");
        assert_eq!(resolve(&UTILS, &[("core-utils", "<2.4")], plugin, &[]).unwrap(), "core-utils 2.3.1");
        let pre = "logger 1.0.0: core-utils ^2.5.0-rc.0";
        assert_eq!(resolve(&UTILS, &[], pre, &[]).unwrap(), "core-utils 2.5.0-rc.1");
    }

    #[test]
    fn what_takes_no_calls_is_not_chosen_and_what_failed_only_for_want_of_others() {
        let known = ["a 1.0.0", "a 1.1.0 failed", "a 1.2.0 held", "a 1.3.0 disabled"];
        assert_eq!(resolve(&known, &[], "b 1.0.0: a ^1", &[]).unwrap(), "a 1.0.0");
        assert_eq!(resolve(&known[1..], &[], "b 1.0.0: a ^1", &[]).unwrap(), "a 1.1.0");
        let none = resolve(&known[2..], &[], "b 1.0.0: a ^1", &[]).unwrap_err();
        assert!(none.contains("1.3.0 (disabled), 1.2.0 (rolled back)"), "{none}");
    }

    #[test]
    fn what_is_not_there_is_explained_and_only_required_is_an_error() {
        let missing = resolve(&["core-util 1.0.0"], &[], "logger 1.0.0: core-utils ^2", &[]).unwrap_err();
        assert_eq!(
            missing,
            "no plugin `core-utils` is registered\nrequired by plugin `logger 1.0.0`, which needs ^2\n\
             a plugin of a similar name is: core-util"
        );
        let no_fit =
            resolve(&UTILS, &[("core-utils", "^2")], "logger 1.0.0: core-utils ^3", &[]).unwrap_err();
        assert_eq!(
            no_fit,
            "failed to select a version for the requirement `core-utils = \"^3\"`\n\
             candidate versions found which didn't match: 3.0.0, 2.5.0-rc.1, 2.4.0, 2.3.1, 2.2.9\n\
             the configuration allows core-utils only as ^2 (plugins.core-utils.version)\n\
             required by plugin `logger 1.0.0`"
        );
        assert_eq!(resolve(&UTILS, &[], "b 1.0.0: ?gone ^1; core-utils 3", &[]).unwrap(), "core-utils 3.0.0");
    }

    #[test]
    fn a_circle_is_named_step_by_step() {
        let itself = resolve(&["a 1.0.0"], &[], "a 1.1.0: a ^1", &[]).unwrap_err();
        assert!(itself.contains("plugin `a 1.1.0` depends on itself"), "{itself}");
        let known = ["a 1.0.0", "b 1.0.0: a ^1", "b 2.0.0", "c 1.0.0: b ^1"];
        let long = resolve(&known, &[], "a 1.1.0: c ^1", &[]).unwrap_err();
        assert_eq!(
            long,
            "cyclic plugin dependency: plugin `a 1.1.0` depends on itself. Cycle:\nplugin `a 1.1.0`\n    \
             ... which satisfies dependency `a = \"^1\"` of plugin `b 1.0.0`\n    \
             ... which satisfies dependency `b = \"^1\"` of plugin `c 1.0.0`\n    \
             ... which satisfies dependency `c = \"^1\"` of plugin `a 1.1.0`"
        );
        let other_way_out = resolve(&known, &[], "a 1.1.0: b ^2", &[]);
        assert_eq!(other_way_out.unwrap(), "b 2.0.0");
    }

    #[test]
    fn whoever_is_needed_comes_first() {
        let arriving: Vec<_> =
            ["c 1.0.0: b ^1", "b 1.0.0: a ^1", "x 1.0.0: y ^1", "a 1.0.0", "y 1.0.0: x ^1"]
                .iter()
                .map(|text| candidate(text))
                .collect();
        let order: Vec<_> = order(&arriving).into_iter().map(|index| &*arriving[index].name).collect();
        assert_eq!(order, ["a", "b", "c", "y", "x"]);
    }
}
