//! Dialogue: one conversation of a script, as its messages with their costs.

use std::collections::HashMap;
use std::fmt::Write as _;

use convodb::{Cost, Message, Result, Role, Timestamp};

use crate::serve::demo::customers::Customer;
use crate::serve::demo::random::SplitMix64;
use crate::serve::demo::script::{Block, Script, Step, Topic};

/// Prices of a token that the model reads and of one that it writes, in nanodollars.
const READ_NANOS: u64 = 600;
const WRITE_NANOS: u64 = 2_400;
/// Tokens of an assistant's instructions and tools, which it reads for each answer.
const INSTRUCTION_TOKENS: u64 = 1_350;
const CHARS_PER_TOKEN: u64 = 4;

/// A conversation as it is generated.
pub(super) struct Dialogue<'s> {
    script: &'s Script<'s>,
    customer: &'s Customer,
    random: SplitMix64,
    slots: HashMap<&'s str, String>,
    at_millis: u64,
    /// The characters of all messages, which the model reads for the next answer.
    read_chars: u64,
    /// A customer who does something else in between does so once.
    has_paused: bool,
    /// What comes before the next message of the customer.
    prefix: &'static str,
    /// The position of the last wording.
    wording: usize,
    pub(super) messages: Vec<Message>,
    pub(super) variables: Option<String>,
    /// Whether a person has taken over.
    pub(super) handed_over: bool,
}

impl<'s> Dialogue<'s> {
    /// Begins a dialogue at this time.
    pub(super) fn new(
        script: &'s Script<'s>,
        customer: &'s mut Customer,
        mut random: SplitMix64,
        at: Timestamp,
    ) -> Self {
        let mut slots = HashMap::new();
        for group in &script.slots {
            let random = if group.own { &mut customer.random } else { &mut random };
            for (name, value) in group.names.iter().zip(random.pick(&group.values)) {
                slots.insert(*name, with_digits(value, random));
            }
        }
        let to = customer.first_name().map_or(String::new(), |name| format!(", {name}"));
        slots.insert("to", to);
        Self {
            script,
            customer,
            random,
            slots,
            at_millis: at.millis(),
            read_chars: 0,
            has_paused: false,
            prefix: "",
            wording: 0,
            messages: Vec::new(),
            variables: None,
            handed_over: false,
        }
    }

    /// The identifier in the customer's own system.
    pub(super) fn identifier(&self) -> String {
        self.fill(self.script.identifier)
    }

    /// Plays the conversation: an opening, a topic and sometimes others, a closing. Some customers leave
    /// without a word.
    ///
    /// # Errors
    /// Fails if a text is not one that the store accepts.
    pub(super) fn play(&mut self, is_test: bool, knows_us: bool) -> Result<()> {
        if is_test {
            self.push(Role::System, self.script.persona.to_owned(), 0)?;
        }
        if self.random.chance(30) {
            self.steps(&self.script.opening)?;
        } else {
            let again = knows_us && self.random.chance(40);
            self.prefix = if again { "$hello_again " } else { "$hello " };
        }
        let all = &self.script.topics;
        let first = self.random.weighted(all.iter().map(|topic| topic.weight));
        self.steps(&all[first].block)?;
        let sides = all.iter().enumerate().filter(|(at, topic)| topic.is_side && *at != first);
        let mut sides: Vec<&Topic<'_>> = sides.map(|(_, topic)| topic).collect();
        while !is_test && !self.handed_over && !sides.is_empty() && self.random.chance(28) {
            let side = sides.swap_remove(self.index(sides.len()));
            self.prefix = "$link ";
            self.steps(&side.block)?;
        }
        self.prefix = "";
        if self.random.chance(7) {
            self.leave();
            return Ok(());
        }
        self.steps(&self.script.closing)
    }

    /// The customer leaves after an answer, from the second one on.
    fn leave(&mut self) {
        let is_answer = |message: &Message| {
            message.role() == Role::Assistant && message.function_calls().is_none()
        };
        let answers = self.messages.iter().enumerate().filter(|(_, message)| is_answer(message));
        let answers: Vec<usize> = answers.map(|(at, _)| at).collect();
        if answers.len() > 2 && !self.handed_over {
            let last = *self.random.pick(&answers[1..]);
            self.messages.truncate(last + 1);
        }
    }

    fn steps(&mut self, block: &'s Block<'s>) -> Result<()> {
        for step in block {
            match step {
                Step::Customer(text) => self.customer_says(text)?,
                Step::Assistant(text) => self.assistant_says(text)?,
                Step::Call(name, arguments) => {
                    let arguments = self.fill(arguments);
                    let calls = format!(r#"[{{"name":"{name}","arguments":{arguments}}}]"#);
                    let message = self.answer(String::new(), calls.len())?;
                    self.messages.push(message.with_function_calls(calls)?);
                }
                Step::CallResult(result) => {
                    let result = self.fill(result);
                    let pause = 150 + self.random.below(1_300);
                    self.push(Role::Tool, result, pause)?;
                }
                Step::HandOver(text) => {
                    let pause = 20_000 + self.random.below(160_000);
                    self.push(Role::System, (*text).to_owned(), pause)?;
                    self.handed_over = true;
                }
                Step::Variables(json) => self.variables = Some(self.fill(json)),
                Step::Either(blocks) => {
                    let at = self.index(blocks.len());
                    self.steps(&blocks[at])?;
                }
            }
        }
        Ok(())
    }

    fn customer_says(&mut self, text: &str) -> Result<()> {
        let prefix = self.fill(self.prefix);
        self.prefix = "";
        let said = self.say(text);
        let mut text = match prefix.trim() {
            "" => capitalized(&said),
            prefix if prefix.ends_with(['.', '!', '?']) => {
                format!("{prefix} {}", capitalized(&said))
            }
            prefix => format!("{prefix} {said}"),
        };
        if self.customer.is_casual {
            text = casual(&text);
        }
        let typing = 60 * text.len() as u64;
        let mut pause = 4_000 + typing + self.random.skewed(70_000);
        if !self.has_paused && !self.messages.is_empty() && self.random.chance(4) {
            self.has_paused = true;
            pause += 180_000 + self.random.below(1_000_000);
        }
        let pause = if self.messages.is_empty() { 0 } else { pause };
        self.push(Role::User, text, pause)
    }

    fn assistant_says(&mut self, text: &str) -> Result<()> {
        let text = capitalized(&self.say(text));
        if self.handed_over {
            let pause = 25_000 + 90 * text.len() as u64 + self.random.below(60_000);
            return self.push(Role::Assistant, text, pause);
        }
        let written = text.len();
        let message = self.answer(text, written)?;
        self.messages.push(message);
        Ok(())
    }

    /// An answer of the model, with its cost.
    fn answer(&mut self, text: String, written: usize) -> Result<Message> {
        let written = written as u64;
        let pause = 700 + 9 * written + self.random.below(1_200);
        let read = INSTRUCTION_TOKENS + self.read_chars / CHARS_PER_TOKEN;
        let nanos = read * READ_NANOS + written / CHARS_PER_TOKEN * WRITE_NANOS;
        let cost = Cost::from_nanos(i64::try_from(nanos / 10_000 * 10_000).unwrap_or(0));
        self.read_chars += written;
        Ok(Message::new(Role::Assistant, text, self.after(pause)?)?.with_cost(cost))
    }

    fn push(&mut self, role: Role, text: String, pause_millis: u64) -> Result<()> {
        self.read_chars += text.len() as u64;
        let at = self.after(pause_millis)?;
        self.messages.push(Message::new(role, text, at)?);
        Ok(())
    }

    fn after(&mut self, pause_millis: u64) -> Result<Timestamp> {
        self.at_millis += pause_millis;
        Timestamp::from_millis(self.at_millis)
    }

    fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.random.below(len as u64)).unwrap_or(0)
    }

    /// Chooses one wording of each `[a|b]`, the last position again of `[=a|b]`, and fills the slots.
    fn say(&mut self, template: &str) -> String {
        let mut chosen = String::new();
        let mut rest = template;
        while let Some((before, wordings)) = rest.split_once('[') {
            let (wordings, after) = wordings.split_once(']').unwrap_or((wordings, ""));
            let (again, wordings) = match wordings.strip_prefix('=') {
                Some(wordings) => (true, wordings),
                None => (false, wordings),
            };
            let wordings: Vec<&str> = wordings.split('|').collect();
            if !again {
                self.wording = self.index(wordings.len());
            }
            chosen.push_str(before);
            chosen.push_str(wordings.get(self.wording).copied().unwrap_or_default());
            rest = after;
        }
        chosen.push_str(rest);
        self.fill(&chosen)
    }

    /// Replaces each `$slot` by its value. A dollar sign before anything else stays.
    fn fill(&self, template: &str) -> String {
        let mut parts = template.split('$');
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let end =
                part.find(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit() && c != '_');
            let (name, after) = part.split_at(end.unwrap_or(part.len()));
            match self.slots.get(name) {
                Some(value) => out.push_str(value),
                // Writing to a string cannot fail.
                None => drop(write!(out, "${name}")),
            }
            out.push_str(after);
        }
        out
    }
}

/// Replaces each `#` by a random digit.
fn with_digits(template: &str, random: &mut SplitMix64) -> String {
    let mut digit = |sign| match sign {
        '#' => char::from(b'0' + u8::try_from(random.below(10)).unwrap_or(0)),
        sign => sign,
    };
    template.chars().map(&mut digit).collect()
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

/// As on a phone: without a capital letter at the beginning, and without a full stop at the end.
fn casual(text: &str) -> String {
    let text = text.strip_suffix('.').unwrap_or(text);
    let mut chars = text.chars();
    // "I" and names of months stay as they are; so does an identifier such as PB-48213.
    let keeps = text.starts_with("I ") || text.starts_with("I'") || text.starts_with("$");
    match chars.next() {
        Some(first) if !keeps => first.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}
