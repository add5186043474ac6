//! `link!`, which links crates whose endpoints no code names. The error for a listener without endpoints is
//! in `runtime/error.rs`; `tests/linking` tests the macro.

/// Links crates for the endpoints that they register.
///
/// The endpoints of a library are registered when the library is linked. Listing a crate in `Cargo.toml` is
/// not enough: the compiler passes only the crates to the linker that some path in the code resolves to.
/// A program that uses only the endpoints of a library must therefore name it once:
///
/// ```
/// listener::link!(billing_endpoints, audit::endpoints);
/// # extern crate std as billing_endpoints;
/// # mod audit { pub mod endpoints {} }
/// # fn main() {}
/// ```
///
/// Write it wherever `use` is allowed, usually in `main.rs`. It expands to `use path as _;` for each path. A
/// path into a crate links the whole crate. A path that does not exist is a compile error.
#[macro_export]
macro_rules! link {
    ($($path:path),+ $(,)?) => {
        $(
            // A module that is named only to link its crate is otherwise unused.
            #[allow(unused_imports)]
            use $path as _;
        )+
    };
}
