//! Extension tables: how host and plugin offer each other what the frozen core does not have.
//!
//! A table is a `#[repr(C)]` struct of functions behind an id such as `polylink.mqtt/1`. Its layout is compared when it
//! is cast, so a table that was changed under its id is refused alone and the plugin can say so. The crate's
//! only `unsafe` code beside that of the export macro in [`crate::root`].

use abi_stable::StableAbi;
use abi_stable::abi_stability::abi_checking::check_layout_compatibility;
use abi_stable::std_types::RStr;
use abi_stable::type_layout::TypeLayout;

/// A table of functions with an id. Ids are `polylink.<name>/<revision>`; third parties use reverse DNS
/// (`com.example.<name>/<revision>`).
pub trait Extension: StableAbi + Sync + 'static {
    /// The id.
    const ID: &'static str;
}

/// A table whose type is known only by its id and layout.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct ExtensionRef {
    id: RStr<'static>,
    layout: &'static TypeLayout,
    table: *const (),
}

// SAFETY: `table` points to a `&'static E` with `E: Sync` (see `new`), which may be shared and sent.
unsafe impl Send for ExtensionRef {}
// SAFETY: as above.
unsafe impl Sync for ExtensionRef {}

/// Why a table cannot be used although its id was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayoutMismatch {
    /// The id that both sides know.
    pub id: &'static str,
    /// The first line of what the layout check says.
    pub detail: String,
}

impl std::fmt::Display for LayoutMismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the other side's table `{}` is laid out differently: {}", self.id, self.detail)
    }
}

impl std::error::Error for LayoutMismatch {}

impl ExtensionRef {
    /// Offers a table.
    pub fn new<E: Extension>(table: &'static E) -> Self {
        Self { id: RStr::from_str(E::ID), layout: E::LAYOUT, table: std::ptr::from_ref(table).cast() }
    }

    /// The id under which the table was offered.
    #[must_use]
    pub fn id(&self) -> &'static str {
        self.id.as_str()
    }

    /// The table, if it is an `E`: `None` if the id is another one.
    ///
    /// # Errors
    /// The id is `E`'s, but the layout is not.
    pub fn cast<E: Extension>(&self) -> Option<Result<&'static E, LayoutMismatch>> {
        if self.id() != E::ID {
            return None;
        }
        Some(match check_layout_compatibility(E::LAYOUT, self.layout) {
            // SAFETY: `table` came from a `&'static` of a type with this id and, as just checked, this layout.
            Ok(()) => Ok(unsafe { &*self.table.cast::<E>() }),
            Err(errors) => {
                let text = errors.to_string();
                let detail = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned();
                Err(LayoutMismatch { id: E::ID, detail })
            }
        })
    }
}
