//! Customers of the demo: invented names, reserved phone numbers, and habits of their own.

use convodb::{Contact, Result};

use crate::serve::demo::random::SplitMix64;
use crate::serve::demo::script::Script;

const SEED: u64 = 0x6375_7374_6f6d_6572;

const FIRST: [&str; 48] = [
    "Ada", "Amara", "Anouk", "Basil", "Bea", "Caspian", "Clover", "Cosmo", "Dalia", "Dov", "Elio",
    "Esme", "Fenna", "Flora", "Gus", "Hana", "Hugo", "Idris", "Ines", "Isla", "Jonas", "Juno",
    "Kai", "Kirra", "Leif", "Lina", "Linus", "Mads", "Marlo", "Mina", "Nadia", "Nils", "Odette",
    "Oskar", "Pax", "Petra", "Quinn", "Rafa", "Romy", "Runa", "Silas", "Tamsin", "Theo", "Uma",
    "Vera", "Wanda", "Yara", "Zeno",
];
const LAST: [&str; 37] = [
    "Alder", "Ash", "Bramble", "Burdock", "Clay", "Curlew", "Dunlin", "Elm", "Fennel", "Finch",
    "Flint", "Gannet", "Hazel", "Heron", "Ivy", "Jackdaw", "Kestrel", "Larch", "Linnet", "Marlin",
    "Moss", "Nettle", "Osprey", "Pebble", "Plover", "Quill", "Reed", "Rook", "Rowan", "Sedge",
    "Slate", "Sorrel", "Tansy", "Teal", "Thistle", "Willow", "Wren",
];
const LAST_DE: [&str; 37] = [
    "Ahorn", "Amsel", "Birke", "Buchfink", "Distel", "Drossel", "Efeu", "Eiche", "Erle", "Falke",
    "Farn", "Fichte", "Ginster", "Habicht", "Hasel", "Holunder", "Kiebitz", "Kiesel", "Klee",
    "Kranich", "Lerche", "Linde", "Malve", "Milan", "Moos", "Pirol", "Quelle", "Reiher", "Salbei",
    "Sperling", "Star", "Storch", "Tanne", "Ulme", "Weide", "Wiesel", "Zeisig",
];

/// A customer of one business: the same whenever they write.
pub(super) struct Customer {
    pub(super) contact: Contact,
    /// Writes as on a phone: no capital letters, no full stops.
    pub(super) is_casual: bool,
    /// Chooses what is the customer's own, such as the contract.
    pub(super) random: SplitMix64,
}

impl Customer {
    /// The customer with this number of the business with this index. Some have no name, a few no
    /// phone number.
    ///
    /// # Errors
    /// Fails if a name or number is not one that the store accepts.
    pub(super) fn new(script: &Script<'_>, business: u64, number: u64) -> Result<Self> {
        let mut random = SplitMix64::stream(SEED, business << 32 | number);
        let first = random.pick(&FIRST);
        let last = random.pick(if script.language == "de" { &LAST_DE } else { &LAST });
        let name = if random.chance(9) { None } else { Some(format!("{first} {last}").parse()?) };
        let phone = script.phone(number).filter(|_| !random.chance(3));
        let phone = phone.as_deref().map(str::parse).transpose()?;
        // Germans capitalize nouns even on phones.
        let is_casual = script.language == "en" && random.chance(35);
        Ok(Self { contact: Contact { name, phone }, is_casual, random })
    }

    /// A visitor of a web page, of whom nothing is known.
    pub(super) fn visitor(script: &Script<'_>, number: u64) -> Self {
        let mut random = SplitMix64::stream(!SEED, number);
        let is_casual = script.language == "en" && random.chance(45);
        Self { contact: Contact::default(), is_casual, random }
    }

    /// The first name, if the customer has one.
    pub(super) fn first_name(&self) -> Option<&str> {
        self.contact.name.as_ref()?.as_str().split(' ').next()
    }
}
