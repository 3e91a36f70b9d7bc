//! Test-time augmentation: which views of a window are scored. Keys `tta..` of `[inference]`.

use std::str::FromStr;

use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A symmetry of the square; turns are counter-clockwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symmetry {
    /// As it is.
    Identity,
    /// Left and right change places.
    FlipHorizontal,
    /// A quarter turn.
    Turn90,
    /// Mirrored at the diagonal from lower left to upper right.
    AntiTranspose,
    /// A half turn.
    Turn180,
    /// Top and bottom change places.
    FlipVertical,
    /// Three quarter turns.
    Turn270,
    /// Rows become columns: mirrored at the diagonal from upper left to lower right.
    Transpose,
}

impl Symmetry {
    /// All of them: no, one, two and three quarter turns, each alone and then flipped left to right.
    pub const ALL: [Self; 8] = [
        Self::Identity,
        Self::FlipHorizontal,
        Self::Turn90,
        Self::AntiTranspose,
        Self::Turn180,
        Self::FlipVertical,
        Self::Turn270,
        Self::Transpose,
    ];

    /// As configuration and command line name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::FlipHorizontal => "flip-horizontal",
            Self::Turn90 => "turn-90",
            Self::AntiTranspose => "anti-transpose",
            Self::Turn180 => "turn-180",
            Self::FlipVertical => "flip-vertical",
            Self::Turn270 => "turn-270",
            Self::Transpose => "transpose",
        }
    }
}

/// The symmetries in which each window is scored: one of [`Symmetries::SETS`] by its name, or a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symmetries(Vec<Symmetry>);

impl Default for Symmetries {
    /// Each window as it is.
    fn default() -> Self {
        Self(vec![Symmetry::Identity])
    }
}

impl Symmetries {
    /// The sets that have a name. Each is a group: whatever is seen in one view is seen in all, turned alike.
    pub const SETS: [(&str, &[Symmetry]); 4] = [
        ("none", &[Symmetry::Identity]),
        (
            "flips",
            &[
                Symmetry::Identity,
                Symmetry::FlipHorizontal,
                Symmetry::Turn180,
                Symmetry::FlipVertical,
            ],
        ),
        ("turns", &[Symmetry::Identity, Symmetry::Turn90, Symmetry::Turn180, Symmetry::Turn270]),
        ("d4", &Symmetry::ALL),
    ];

    /// In the order in which they are computed.
    pub fn list(&self) -> &[Symmetry] {
        &self.0
    }

    fn of_names<'a>(names: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut found = Vec::new();
        for name in names {
            let symmetry = Symmetry::ALL.into_iter().find(|symmetry| symmetry.name() == name);
            let symmetry = symmetry.ok_or_else(|| {
                let sets = Self::SETS.map(|(name, _)| name).join(", ");
                let all = Symmetry::ALL.map(Symmetry::name).join(", ");
                format!("expected one of {sets}, or a list of {all}; found `{name}`")
            })?;
            if found.contains(&symmetry) {
                return Err(format!("`{name}` stands in the list twice"));
            }
            found.push(symmetry);
        }
        if found.is_empty() {
            return Err("expected at least one symmetry; \"none\" takes windows as they are".into());
        }
        Ok(Self(found))
    }
}

impl FromStr for Symmetries {
    type Err = String;

    /// The name of a set, or names of symmetries with commas between.
    fn from_str(text: &str) -> Result<Self, String> {
        match Self::SETS.iter().find(|(name, _)| *name == text) {
            Some((_, set)) => Ok(Self(set.to_vec())),
            None => Self::of_names(text.split(',').map(str::trim)),
        }
    }
}

impl Serialize for Symmetries {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match Self::SETS.iter().find(|(_, set)| *set == self.0) {
            Some((name, _)) => serializer.serialize_str(name),
            None => serializer.collect_seq(self.0.iter().map(|symmetry| symmetry.name())),
        }
    }
}

impl<'de> Deserialize<'de> for Symmetries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;

        impl<'de> Visitor<'de> for Names {
            type Value = Symmetries;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the name of a set of symmetries, or a list of symmetries")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Symmetries, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Symmetries, A::Error> {
                let mut names: Vec<String> = Vec::new();
                while let Some(name) = list.next_element()? {
                    names.push(name);
                }
                Symmetries::of_names(names.iter().map(String::as_str)).map_err(de::Error::custom)
            }
        }

        deserializer.deserialize_any(Names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_and_lists_come_back_as_they_were_written() {
        for text in ["none", "flips", "turns", "d4", "turn-90", "flip-vertical, transpose"] {
            let read: Symmetries = text.parse().unwrap();
            let json = serde_json::to_string(&read).unwrap();
            assert_eq!(serde_json::from_str::<Symmetries>(&json).unwrap(), read, "{json}");
        }
        let d4: Symmetries = "d4".parse().unwrap();
        assert_eq!(serde_json::to_string(&d4).unwrap(), "\"d4\"");
        assert_eq!(Symmetries::default(), "identity".parse().unwrap());
    }

    #[test]
    fn what_is_no_symmetry_or_stands_twice_is_named() {
        for (text, part) in [
            ("turn-45", "found `turn-45`"),
            ("identity,identity", "`identity` stands in the list twice"),
            ("d4,identity", "found `d4`"),
        ] {
            assert!(text.parse::<Symmetries>().unwrap_err().contains(part), "{text}");
        }
        let error = serde_json::from_str::<Symmetries>("[]").unwrap_err().to_string();
        assert!(error.contains("at least one"), "{error}");
    }
}
