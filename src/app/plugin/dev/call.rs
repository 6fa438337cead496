//! What the author's version is called with: what was given on the command line, or an example of the manifest
//! as it is now.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::app::cli;
use crate::app::failure::Failure;
use crate::app::invoke::{raw, typed_fields, whole_input};
use crate::app::target::Target;
use crate::package::manifest::Example;

const ACTION: &str = "invoke";

/// What `-f`, `--input` and `--action` said.
pub struct Input {
    whole: Option<Box<RawValue>>,
    fields: Vec<(String, String)>,
    action: Option<String>,
}

/// Which input a run takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    Given,
    /// By its place in the manifest.
    Example(usize),
    /// There is neither.
    Empty,
}

/// What is sent.
pub struct Chosen {
    pub input: Box<RawValue>,
    pub action: String,
    pub example: Option<String>,
}

impl Input {
    /// Standard input is read here, once.
    pub fn of(input: &cli::Input, action: Option<&str>) -> Result<Input, Failure> {
        let (whole, fields) = (whole_input(input)?, input.fields.clone());
        Ok(Input { whole, fields, action: action.map(str::to_owned) })
    }

    pub fn is_given(&self) -> bool {
        self.whole.is_some() || !self.fields.is_empty()
    }

    /// What the first run takes.
    pub fn first(&self, examples: &[Example]) -> Choice {
        match self.example(examples, 0) {
            _ if self.is_given() => Choice::Given,
            Some(first) => Choice::Example(first),
            None => Choice::Empty,
        }
    }

    /// The first example of the action from this place on, the list being a circle.
    pub fn example(&self, examples: &[Example], from: usize) -> Option<usize> {
        let fits =
            |place: &usize| self.action.as_ref().is_none_or(|action| examples[*place].action == *action);
        let count = examples.len();
        (0..count).map(|step| (from + step) % count).find(fits)
    }

    /// The input itself; fields get their types from the schema of the version that is called.
    pub async fn chosen(
        &self,
        choice: Choice,
        examples: &[Example],
        (target, plugin, version): (&Target, &str, &str),
    ) -> Result<Chosen, Failure> {
        let action = || self.action.clone().unwrap_or_else(|| ACTION.to_owned());
        let (input, action, example) = match choice {
            Choice::Given => match &self.whole {
                Some(whole) => (whole.clone(), action(), None),
                None => {
                    let fields = typed_fields(target, plugin, Some(version), &self.fields).await?;
                    (raw(&fields)?, action(), None)
                }
            },
            Choice::Example(place) if place < examples.len() => {
                let example = &examples[place];
                let input = (*example.input).to_owned();
                (input, example.action.clone(), Some(example.name.clone()))
            }
            // The author has taken the example away.
            Choice::Example(_) | Choice::Empty => (raw(&Value::Object(Default::default()))?, action(), None),
        };
        Ok(Chosen { input, action, example })
    }
}

impl Chosen {
    /// For people.
    pub fn describe(&self) -> String {
        match &self.example {
            Some(example) => format!("example {example}"),
            None => format!("{} {}", self.action, self.input.get()),
        }
    }

    /// What an event says of it.
    pub fn to_json(&self) -> Value {
        json!({"action": self.action, "example": self.example})
    }
}
