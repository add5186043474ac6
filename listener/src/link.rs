//! `link!`, which keeps the crates linked whose endpoints no code names. What the listener says
//! when there is no endpoint at all stands in `runtime/error.rs`; that the macro keeps its
//! promise is proven in `tests/linking`.

/// Links crates for the endpoints that they register.
///
/// An endpoint of a library registers itself when the library is part of the program. A crate
/// that is listed in `Cargo.toml` is not yet part of it: the compiler hands the linker only
/// the crates that some path in the code resolves to. A program that takes its endpoints from
/// a library and calls nothing else in it must therefore name it once:
///
/// ```
/// listener::link!(billing_endpoints, audit::endpoints);
/// # extern crate std as billing_endpoints;
/// # mod audit { pub mod endpoints {} }
/// # fn main() {}
/// ```
///
/// It is written where `use` may stand, usually in `main.rs`, and expands to `use path as _;`
/// for each path. A path into a crate links the whole crate. A path that does not exist does
/// not compile.
#[macro_export]
macro_rules! link {
    ($($path:path),+ $(,)?) => {
        $(
            // A module that is named only for its crate is meant to be unused.
            #[allow(unused_imports)]
            use $path as _;
        )+
    };
}
