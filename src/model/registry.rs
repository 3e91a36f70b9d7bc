//! The list of networks: what [`crate::model`] makes of one line for each.

use crate::Error;

/// What is known of a network without building it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// Its name, the value of `model.arch`.
    pub name: &'static str,
    /// One line on what it is.
    pub about: &'static str,
    /// Images are continued to a multiple of this before they enter, in pixels.
    pub multiple_px: usize,
    /// Whether `model.encoder` chooses a part of it.
    pub has_encoder: bool,
}

/// Makes the enum of all networks, their construction, the calls of their methods, and [`Listed`] of each, from lines
///
/// ```text
/// Type = "name", multiple in pixels, encoder or no_encoder, "one line on what it is";
/// ```
///
/// A type has `new(&ModelSpec, &Device) -> Result<Self>` with zero weights, `forward(images, Mode) -> logits` for sizes that are
/// multiples, `survey(&Row, &mut Survey) -> Row` and `graph(Image, &mut Graph) -> Image`, which say what `forward` costs and
/// computes; an encoder is its field `encoder`.
macro_rules! architectures {
    (@has encoder) => { true };
    (@has no_encoder) => { false };
    (@of encoder $network:ident) => { Some(&mut $network.encoder) };
    (@of no_encoder $network:ident) => {{
        let _ = $network;
        None
    }};
    ($($network:ident = $name:literal, $multiple_px:literal, $encoder:ident, $about:literal;)+) => {
        /// The networks that a [`ModelSpec`] can name.
        #[derive(Module, Debug)]
        pub enum Architecture<B: Backend> {
            $(#[doc = concat!("`", $name, "`: ", $about, ".")] $network($network<B>),)+
        }

        /// All networks, in the order in which they are shown.
        pub const ARCHITECTURES: &[Listed] = &[$(Listed {
            name: $name,
            about: $about,
            multiple_px: $multiple_px,
            has_encoder: architectures!(@has $encoder),
        }),+];

        impl<B: Kernels> Architecture<B> {
            /// With zero weights.
            fn new(spec: &ModelSpec, device: &B::Device) -> Result<Self> {
                match spec.arch.as_str() {
                    $($name => $network::new(spec, device).map(Self::$network),)+
                    unknown => Err(registry::unknown(unknown)),
                }
            }

            fn name(&self) -> &'static str {
                match self {
                    $(Self::$network(_) => $name,)+
                }
            }

            fn encoder_mut(&mut self) -> Option<&mut efficientnet::EfficientNet<B>> {
                match self {
                    $(Self::$network(network) => architectures!(@of $encoder network),)+
                }
            }

            fn multiple_px(&self) -> usize {
                match self {
                    $(Self::$network(_) => $multiple_px,)+
                }
            }

            fn forward(&self, x: Tensor<B, 4>, mode: Mode) -> Tensor<B, 4> {
                match self {
                    $(Self::$network(network) => network.forward(x, mode),)+
                }
            }

            fn survey(&self, x: &Row, survey: &mut Survey) -> Row {
                match self {
                    $(Self::$network(network) => network.survey(x, survey),)+
                }
            }

            fn graph(&self, x: Image, graph: &mut Graph) -> Image {
                match self {
                    $(Self::$network(network) => network.graph(x, graph),)+
                }
            }
        }
    };
}
pub(super) use architectures;

/// The network of a name.
///
/// # Errors
/// [`Error::Config`] with the nearest name that there is.
pub fn listed(name: &str) -> Result<&'static Listed, Error> {
    super::ARCHITECTURES.iter().find(|listed| listed.name == name).ok_or_else(|| unknown(name))
}

/// The error for a name that no network has.
pub(super) fn unknown(name: &str) -> Error {
    let names = || super::ARCHITECTURES.iter().map(|listed| listed.name);
    let similarity = |known: &str| strsim::jaro_winkler(known, name);
    let nearest =
        names().max_by(|a, b| similarity(a).total_cmp(&similarity(b))).unwrap_or_default();
    let all = names().collect::<Vec<_>>().join(", ");
    Error::config(
        "model.arch",
        format!("`{name}` is not known; did you mean `{nearest}`? (all: {all})"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_a_wrong_one_brings_the_nearest() {
        assert_eq!(listed("unet").unwrap().multiple_px, 32);
        for (wrong, nearest) in
            [("u-net", "`unet`"), ("fpm", "`fpn`"), ("carvana_unet", "`carvana-unet`")]
        {
            let message = listed(wrong).unwrap_err().to_string();
            assert!(message.contains(&format!("did you mean {nearest}")), "{message}");
        }
    }

    #[test]
    fn no_name_is_given_twice() {
        let mut names: Vec<_> =
            super::super::ARCHITECTURES.iter().map(|listed| listed.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), super::super::ARCHITECTURES.len());
    }
}
