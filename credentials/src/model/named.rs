//! Names of the values of an enum.

/// Gives an enum `as_str`, a `Display` with the same name, and `ALL`.
macro_rules! named {
    ($name:ident: $($value:ident = $text:literal),+ $(,)?) => {
        impl $name {
            /// All values, in the order that tables use.
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$value),+];

            /// The name, as in JSON.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)+
                }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use named;
