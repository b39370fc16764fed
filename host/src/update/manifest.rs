//! The owner's word about an image: a small signed text, and the policy that says what may be installed.
//!
//! A cloud's digest says that a file came as the cloud has it, not that its owner made it. So the owner signs product,
//! target, version, a counter against rollback, size and SHA-256, and the device holds the owner's public keys. The
//! format is in `docs/UPDATES.md`. It has one spelling only: what parses is byte for byte what is written, so nothing can
//! be hidden in it.
//!
//! Invariant: [`Verified`] is made by [`Policy::verify`] alone, and every backend asks for one.

use std::fmt;

use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};

use crate::config::ProductKey;

/// What an image is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// This module: Polylink, its plugins, or the system around it.
    Module,
    /// The MCU.
    Mcu,
    /// A device behind this one.
    Subdevice,
    /// One plugin of this module; which one, it says itself, and the digest covers that.
    Plugin,
}

/// What the owner says about an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The product it is for.
    pub product: ProductKey,
    /// What of the product it is for.
    pub target: Target,
    /// For people, and for clouds that ask what runs.
    pub version: Version,
    /// Grows with every release that must not be taken back.
    pub counter: u64,
    /// Size and content.
    pub facts: Facts,
}

/// Size and content of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Bytes.
    pub size: u64,
    /// SHA-256.
    pub sha256: [u8; 32],
}

/// A version: 1 to 64 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(String);

/// A public key of an owner (Ed25519).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

/// What may be installed: `[update]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// An image without a manifest is refused.
    pub require_manifest: bool,
    /// Who may sign. None: every manifest is refused.
    pub keys: Vec<PublicKey>,
    /// A smaller counter than before is taken.
    pub allow_downgrade: bool,
}

/// What an image is to be installed on.
#[derive(Clone, Copy, Debug)]
pub struct Device<'a> {
    /// Its product.
    pub product: &'a ProductKey,
    /// What of it.
    pub target: Target,
    /// The greatest counter that was ever confirmed on this target.
    pub floor: u64,
}

/// Proof that an image passed the policy. Whoever installs asks for it and installs no byte that it does not cover.
///
/// It cannot be made elsewhere, not even by this crate's other modules:
///
/// ```compile_fail
/// use polylink::update::manifest::{Facts, Verified};
/// let facts = Facts { size: 0, sha256: [0; 32] };
/// let proof = Verified { facts, manifest: None };
/// ```
///
/// and an installation without one does not compile, while the same one with it does:
///
/// ```compile_fail
/// # use polylink::update::manifest::{Facts, Verified};
/// fn install(_: &Verified) {}
/// let facts = Facts { size: 0, sha256: [0; 32] };
/// install(&facts);
/// ```
///
/// ```
/// # use polylink::update::manifest::{Device, Facts, Policy, Target, Verified};
/// # use polylink::config::ProductKey;
/// fn install(_: &Verified) {}
/// let facts = Facts { size: 0, sha256: [0; 32] };
/// let policy = Policy { require_manifest: false, keys: Vec::new(), allow_downgrade: false };
/// let product = ProductKey::parse("lamp").unwrap();
/// let device = Device { product: &product, target: Target::Module, floor: 0 };
/// install(&policy.verify(&device, None, &facts).unwrap());
/// ```
#[derive(Debug)]
#[must_use]
pub struct Verified {
    facts: Facts,
    manifest: Option<Manifest>,
}

/// Why an image is not installed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The policy wants one.
    #[error("the image has no manifest, and [update] require_manifest demands one")]
    NoManifest,
    /// There is nobody who may sign.
    #[error("the image is signed, but [update] keys is empty, so no signature counts")]
    NoKeys,
    /// Not the format.
    #[error("the manifest is malformed: {0}")]
    Malformed(&'static str),
    /// None of our keys made the signature over this text.
    #[error("the manifest is not signed by any of the keys in [update] keys")]
    Signature,
    /// For others.
    #[error("the image is for product {found}, this is {ours}")]
    Product {
        /// The manifest's.
        found: ProductKey,
        /// Ours.
        ours: ProductKey,
    },
    /// For something else.
    #[error("the image is for {found}, it was offered for {wanted}")]
    Target {
        /// The manifest's.
        found: Target,
        /// As it was offered.
        wanted: Target,
    },
    /// Older than what was confirmed before.
    #[error("the image has counter {found}, and {floor} was confirmed before")]
    Downgrade {
        /// The manifest's.
        found: u64,
        /// The greatest so far.
        floor: u64,
    },
    /// The image is longer or shorter.
    #[error("the image has {found} bytes, {signed} are signed")]
    Size {
        /// In the file.
        found: u64,
        /// In the manifest.
        signed: u64,
    },
    /// The image is another one.
    #[error("the image is not the one that is signed: its SHA-256 differs")]
    Content,
}

impl Policy {
    /// Whether an image may be installed. `manifest` is what came with it; `facts` are those of the bytes that would be
    /// installed, counted and hashed here, not heard from anybody.
    ///
    /// A manifest counts also where none is required: a wrong one is refused.
    ///
    /// # Errors
    /// Why not. The signature is looked at first: nothing in an unsigned text is believed, not even for a message.
    pub fn verify(&self, device: &Device<'_>, manifest: Option<&[u8]>, facts: &Facts) -> Result<Verified, Rejected> {
        let Some(bytes) = manifest else {
            return if self.require_manifest {
                Err(Rejected::NoManifest)
            } else {
                Ok(Verified { facts: *facts, manifest: None })
            };
        };
        let manifest = self.authentic(bytes)?;
        if manifest.product != *device.product {
            return Err(Rejected::Product { found: manifest.product, ours: device.product.clone() });
        }
        if manifest.target != device.target {
            return Err(Rejected::Target { found: manifest.target, wanted: device.target });
        }
        if manifest.counter < device.floor && !self.allow_downgrade {
            return Err(Rejected::Downgrade { found: manifest.counter, floor: device.floor });
        }
        let Facts { size, sha256 } = manifest.facts;
        if size != facts.size {
            return Err(Rejected::Size { found: facts.size, signed: size });
        }
        if sha256 != facts.sha256 {
            return Err(Rejected::Content);
        }
        Ok(Verified { facts: *facts, manifest: Some(manifest) })
    }

    /// A manifest that one of the keys has signed.
    ///
    /// # Errors
    /// [`Rejected::NoKeys`], [`Rejected::Malformed`], [`Rejected::Signature`].
    pub fn authentic(&self, bytes: &[u8]) -> Result<Manifest, Rejected> {
        if self.keys.is_empty() {
            return Err(Rejected::NoKeys);
        }
        let (text, signature) = split_signature(bytes)?;
        let signs = |key: &PublicKey| UnparsedPublicKey::new(&ED25519, key.0).verify(text, &signature).is_ok();
        if !self.keys.iter().any(signs) {
            return Err(Rejected::Signature);
        }
        Manifest::parse(text)
    }
}

impl Verified {
    /// Size and content of what may be installed.
    #[must_use]
    pub const fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What the owner says; none: the policy asks for nothing.
    #[must_use]
    pub const fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }
}

impl Manifest {
    /// The text and its signature, as they travel.
    #[must_use]
    pub fn sign(&self, key: &Ed25519KeyPair) -> Vec<u8> {
        let mut bytes = self.text().into_bytes();
        let signature = key.sign(&bytes);
        bytes.extend_from_slice(SIGNATURE.as_bytes());
        bytes.extend_from_slice(hex(signature.as_ref()).as_bytes());
        bytes.push(b'\n');
        bytes
    }

    /// What is signed.
    fn text(&self) -> String {
        let Self { product, target, version, counter, facts: Facts { size, sha256 } } = self;
        let (version, sha256) = (version.as_str(), hex(sha256));
        format!(
            "{FIRST}product {product}\ntarget {target}\nversion {version}\ncounter {counter}\nsize {size}\n\
             sha256 {sha256}\n"
        )
    }

    fn parse(text: &[u8]) -> Result<Self, Rejected> {
        let malformed = Rejected::Malformed;
        let text = std::str::from_utf8(text).map_err(|_| malformed("it is not text"))?;
        let mut lines = text
            .strip_prefix(FIRST)
            .ok_or_else(|| malformed("its first line is not `polylink-manifest 1`"))?
            .split_terminator('\n');
        let mut line = |name: &str, wrong: &'static str| {
            let rest = lines.next().and_then(|line| line.strip_prefix(name)?.strip_prefix(' '));
            rest.ok_or(Rejected::Malformed(wrong))
        };
        let product = ProductKey::parse(line("product", "no product where it belongs")?)
            .ok_or_else(|| malformed("its product is no product key"))?;
        let target = Target::parse(line("target", "no target where it belongs")?)
            .ok_or_else(|| malformed("its target is not known"))?;
        let version = Version::parse(line("version", "no version where it belongs")?)
            .ok_or_else(|| malformed("its version is not 1 to 64 visible ASCII characters"))?;
        let counter = number(line("counter", "no counter where it belongs")?)
            .ok_or_else(|| malformed("its counter is no number"))?;
        let size =
            number(line("size", "no size where it belongs")?).ok_or_else(|| malformed("its size is no number"))?;
        let sha256 = unhex(line("sha256", "no sha256 where it belongs")?)
            .ok_or_else(|| malformed("its sha256 is not 64 hex digits in lower case"))?;
        let manifest = Self { product, target, version, counter, facts: Facts { size, sha256 } };
        if manifest.text() == text { Ok(manifest) } else { Err(malformed("it has more in it than a manifest has")) }
    }
}

impl Target {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Module => "module",
            Self::Mcu => "mcu",
            Self::Subdevice => "subdevice",
            Self::Plugin => "plugin",
        }
    }

    /// By its word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Module, Self::Mcu, Self::Subdevice, Self::Plugin].into_iter().find(|target| target.as_str() == word)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Version {
    /// None if the text cannot be a version.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(text.to_owned()))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PublicKey {
    /// What a key is written as, for messages.
    pub const EXPECTED: &str = "a public key as 64 hex digits, as `polylink ota keygen` prints it";

    /// From 64 hex digits in lower case. A key under which anybody can sign is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        unhex(text).and_then(Self::of)
    }

    /// From its bytes.
    #[must_use]
    pub fn of(bytes: [u8; 32]) -> Option<Self> {
        let mut unsigned = bytes;
        unsigned[31] &= 0x7F;
        (!SMALL_ORDER.contains(&unsigned)).then_some(Self(bytes))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// The signed text, and the one signature after it.
fn split_signature(bytes: &[u8]) -> Result<(&[u8], [u8; 64]), Rejected> {
    if bytes.len() > MANIFEST_MAX {
        return Err(Rejected::Malformed("it is longer than any manifest"));
    }
    let missing = Rejected::Malformed("it does not end with one signature");
    let line = SIGNATURE.len() + 2 * 64 + 1;
    let (text, line) = bytes.split_at_checked(bytes.len().wrapping_sub(line)).ok_or(missing.clone())?;
    let digits = line.strip_prefix(SIGNATURE.as_bytes()).and_then(|rest| rest.strip_suffix(b"\n"));
    let signature = digits.and_then(|digits| unhex(std::str::from_utf8(digits).ok()?)).ok_or(missing)?;
    Ok((text, signature))
}

/// A number in its shortest spelling; others are caught by comparing the whole text.
fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

/// Hex digits in lower case.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Exactly so many bytes from hex digits in lower case.
#[must_use]
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    let pairs = text.as_bytes().chunks_exact(2);
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// First line; also what tells this signature from any other that the same key may make. The digit is the version of
/// the format. Chosen by us.
const FIRST: &str = "polylink-manifest 1\n";

/// Before the signature, which is over everything above. Chosen by us.
const SIGNATURE: &str = "signature ";

/// Longest manifest. Not documented; chosen by us: the longest that can be written has about 450 bytes.
pub const MANIFEST_MAX: usize = 1024;

/// Points of small order, without the sign bit: signatures under such a key can be made without a secret (RFC 8032 5.1;
/// the list is that of libsodium, `ge25519_has_small_order`). All zeros, which people write as a placeholder, is one.
const SMALL_ORDER: [[u8; 32]; 7] = {
    const fn bytes(first: u8, middle: u8, last: u8) -> [u8; 32] {
        let mut bytes = [middle; 32];
        bytes[0] = first;
        bytes[31] = last;
        bytes
    }
    [
        bytes(0x00, 0x00, 0x00),
        bytes(0x01, 0x00, 0x00),
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
            0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
            0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ],
        bytes(0xec, 0xff, 0x7f),
        // The same points, not reduced.
        bytes(0xed, 0xff, 0x7f),
        bytes(0xee, 0xff, 0x7f),
    ]
};

#[cfg(test)]
mod tests;
