//! Every option is declared once, with its name, type, default, unit, accepted values and documentation:
//! those of listeners in `listener.rs`, those of notifiers in `notifier.rs`, those of RabbitMQ's URLs in that
//! driver's `options.rs`. `options!` generates from a declaration the struct with its defaults, the
//! list of its keys, how a text becomes a field, the check of fields that a program set, the setters of a
//! builder, and the rows of the documentation's table. The kinds of values are in `value.rs`.

use std::fmt::Debug;

use crate::options::value::{Kind, Raw, Wrong};

/// Declares a struct of options. A row is
///
/// ```text
/// /// What it is, in one line: the row of the documentation's table.
/// ///
/// /// Details, for the field and the setter.
/// pub name: Type as Given = [default] takes kind, key "name" in "where";
/// ```
///
/// `as Given` is what the setter takes, if that is not the type. A default may have a unit, as `[30 s]` or
/// `[64 MiB]`, or a text of its own for the table: `["shuffle" for FailoverStrategy::Shuffle]`, or
/// `[not given for Vec::new()]`. `takes` is a [`Kind`]: without it every value is accepted. With `key` the
/// option can be given as text; `in` names the only place where it can.
///
/// The struct has a setter for each field. `table` names a macro that becomes the rows of the documentation,
/// `setters` one that becomes the setters of a builder that holds the struct in its field `options`.
macro_rules! options {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident;
        table $table:ident;
        setters $setters:ident;
        $(
            #[doc = $summary:literal]
            $(#[doc = $more:literal])*
            $field_vis:vis $field:ident: $type:ty $(as $given:ty)? = $default:tt
                $(takes $kind:expr $(, key $key:literal $(in $scope:literal)?)?)?;
        )+
    ) => {
        #[allow(unused_macros, reason = "not every struct is shown as a table")]
        macro_rules! $table {
            () => {
                concat!($($($(
                    "| `", $key, "`", $(" (", $scope, " only)",)? " | ",
                    $crate::options::declare::default_text!($default), " |", $summary, " |\n",
                )?)?)+)
            };
        }
        #[allow(unused_imports, reason = "not every struct is shown as a table")]
        pub(crate) use $table;

        #[allow(unused_macros, reason = "not every struct has a builder")]
        macro_rules! $setters {
            () => {
                $(
                    #[doc = $summary]
                    $(#[doc = $more])*
                    #[doc = concat!("\n\nDefault: ", $crate::options::declare::default_code!($default), ".")]
                    $field_vis fn $field(
                        mut self,
                        $field: $crate::options::declare::options!(@given $type $(, $given)?),
                    ) -> Self {
                        self.options = self.options.$field($field);
                        self
                    }
                )+
            };
        }
        #[allow(unused_imports, reason = "not every struct has a builder")]
        pub(crate) use $setters;

        $(#[$meta])*
        $vis struct $name {
            $(
                #[doc = $summary]
                $(#[doc = $more])*
                #[doc = concat!("\n\nDefault: ", $crate::options::declare::default_code!($default), ".")]
                $field_vis $field: $type,
            )+
        }

        #[allow(dead_code, reason = "some structs are read from text only")]
        #[allow(unreachable_pub, reason = "the builder's setters are public, and have this visibility")]
        impl $name {
            $(
                #[doc = concat!(
                    "Sets [`", stringify!($field), "`](field@Self::", stringify!($field), ").",
                )]
                #[must_use]
                $field_vis fn $field(
                    mut self,
                    $field: $crate::options::declare::options!(@given $type $(, $given)?),
                ) -> Self {
                    self.$field = From::from($field);
                    self
                }
            )+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $crate::options::declare::default_value!($default),)+ }
            }
        }

        impl $crate::options::declare::Group for $name {
            const DECLARED: &'static [$crate::options::declare::Declared] = &[$($($(
                $crate::options::declare::Declared {
                    key: $key,
                    scope: $crate::options::declare::options!(@scope $($scope)?),
                    #[cfg(test)]
                    default: $crate::options::declare::default_text!($default),
                    #[cfg(test)]
                    example: || $crate::options::value::Kind::example(&$kind),
                },
            )?)?)+];

            fn set(
                &mut self,
                key: &str,
                raw: &$crate::options::value::Raw,
            ) -> Option<Result<(), $crate::options::value::Wrong>> {
                match key {
                    $($($(
                        $key => Some($crate::options::declare::put(&$kind, raw, &mut self.$field)),
                    )?)?)+
                    _ => {
                        let _ = raw;
                        None
                    }
                }
            }

            fn take_given(&mut self, given: &Self, is_given: &dyn Fn(&str) -> bool) {
                $($($(
                    if is_given($key) {
                        self.$field.clone_from(&given.$field);
                    }
                )?)?)+
                let _ = (given, is_given);
            }

            fn wrong(&self) -> Vec<(&'static str, $crate::options::value::Wrong)> {
                let checked: &[(&str, Option<$crate::options::value::Wrong>)] = &[$($(
                    (
                        stringify!($field),
                        $crate::options::declare::check(&$kind, Option::from(self.$field.clone())),
                    ),
                )?)+];
                checked.iter().cloned().filter_map(|(field, wrong)| Some((field, wrong?))).collect()
            }
        }
    };
    (@given $type:ty) => { $type };
    (@given $type:ty, $given:ty) => { $given };
    (@scope) => { None };
    (@scope $scope:literal) => { Some($scope) };
}
pub(crate) use options;

/// A default: a value, a number with a unit, or a value after its text.
macro_rules! default_value {
    ([$number:literal ms]) => {
        ::std::time::Duration::from_millis($number)
    };
    ([$number:literal s]) => {
        ::std::time::Duration::from_secs($number)
    };
    ([$number:literal min]) => {
        ::std::time::Duration::from_secs($number * 60)
    };
    ([$number:literal MiB]) => {
        $number << 20
    };
    ([$text:literal for $value:expr]) => {
        $value
    };
    ([not given for $value:expr]) => {
        $value
    };
    ([$value:expr]) => {
        $value
    };
}
pub(crate) use default_value;

/// A default as the table of keys shows it.
macro_rules! default_text {
    ([None]) => {
        "not given"
    };
    ([not given for $value:expr]) => {
        "not given"
    };
    ([$number:literal MiB]) => {
        concat!($number, " MiB, in bytes")
    };
    ([$number:literal min]) => {
        concat!("`", $number, "m`")
    };
    ([$number:literal $unit:ident]) => {
        concat!("`", $number, stringify!($unit), "`")
    };
    ([$text:literal for $value:expr]) => {
        concat!("`", $text, "`")
    };
    ([$value:expr]) => {
        concat!("`", stringify!($value), "`")
    };
}
pub(crate) use default_text;

/// A default as the documentation of fields and setters shows it.
macro_rules! default_code {
    ([$text:literal for $value:expr]) => {
        concat!("`", stringify!($value), "`")
    };
    ($default:tt) => {
        $crate::options::declare::default_text!($default)
    };
}
pub(crate) use default_code;

/// An option that can be given as text.
#[derive(Debug)]
pub(crate) struct Declared {
    /// Its name in the environment (in capitals, after a prefix), in a file and in URLs.
    pub(crate) key: &'static str,
    /// The only place where it can be given; `None`: everywhere.
    pub(crate) scope: Option<&'static str>,
    /// Its default, as the documentation shows it.
    #[cfg(test)]
    pub(crate) default: &'static str,
    /// A text that it accepts.
    #[cfg(test)]
    pub(crate) example: fn() -> &'static str,
}

/// What [`options!`] makes of a declaration.
pub(crate) trait Group {
    /// The options that can be given as text.
    const DECLARED: &'static [Declared];

    /// Sets the option of this key; none if there is no such option.
    fn set(&mut self, key: &str, raw: &Raw) -> Option<Result<(), Wrong>>;

    /// Takes over the options whose keys were given.
    fn take_given(&mut self, given: &Self, is_given: &dyn Fn(&str) -> bool);

    /// The fields whose values are not accepted.
    fn wrong(&self) -> Vec<(&'static str, Wrong)>;
}

/// Reads a value into its field.
pub(crate) fn put<K: Kind, F: From<K::Value>>(
    kind: &K,
    raw: &Raw,
    field: &mut F,
) -> Result<(), Wrong> {
    let value = kind.read(raw);
    let why = value.as_ref().and_then(|_| kind.why());
    match value.filter(|value| kind.accepts(value)) {
        Some(value) => {
            *field = F::from(value);
            Ok(())
        }
        None => Err(Wrong {
            expected: format!("{}{}{}", kind.expected(), kind.written(), in_parentheses(why)),
            found: kind.shown(raw),
        }),
    }
}

/// What is wrong with a value that a program set.
pub(crate) fn check<K: Kind>(kind: &K, value: Option<K::Value>) -> Option<Wrong>
where
    K::Value: Debug,
{
    let value = value.filter(|value| !kind.accepts(value))?;
    Some(Wrong {
        expected: kind.expected() + &in_parentheses(kind.why()),
        found: format!("{value:?}"),
    })
}

fn in_parentheses(why: Option<&str>) -> String {
    why.map(|why| format!(" ({why})")).unwrap_or_default()
}

/// Sets each option to the default that the documentation shows.
#[cfg(test)]
#[track_caller]
pub(crate) fn set_to_documented_defaults<G: Group>(options: &mut G) {
    for option in G::DECLARED.iter().filter(|option| option.default != "not given") {
        let text = match option.default.strip_suffix(" MiB, in bytes") {
            Some(number) => (number.parse::<u64>().expect("a number") << 20).to_string(),
            None => option.default.trim_matches('`').to_owned(),
        };
        assert_eq!(options.set(option.key, &Raw::Text(text)), Some(Ok(())), "{}", option.key);
    }
}
