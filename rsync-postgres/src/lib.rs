//! What the PostgreSQL source and the PostgreSQL state store share: where the server is, how a connection to it is
//! encrypted, and what an error of the client library means. Rules and words are the same for both.

mod address;
mod login;
mod tls;
mod trouble;

pub use address::Address;
pub use login::Login;
pub use tls::Tls;
pub use trouble::{AGAIN, Trouble};
