//! What the policy takes and refuses.

use proptest::prelude::*;
use ring::signature::KeyPair;

use super::*;

const IMAGE: Facts = Facts { size: 5, sha256: [7; 32] };

fn owner(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("32 bytes are a seed")
}

fn public(pair: &Ed25519KeyPair) -> PublicKey {
    PublicKey::of(pair.public_key().as_ref().try_into().expect("32 bytes")).expect("a good key")
}

fn lamp() -> ProductKey {
    ProductKey::parse("lamp").expect("a key")
}

fn manifest() -> Manifest {
    let version = Version::parse("1.4.2").expect("a version");
    Manifest { product: lamp(), target: Target::Module, version, counter: 17, facts: IMAGE }
}

fn policy() -> Policy {
    Policy { require_manifest: true, keys: vec![public(&owner(1))], allow_downgrade: false }
}

#[track_caller]
fn check(policy: &Policy, manifest: Option<&[u8]>, expected: Result<(), Rejected>) {
    let product = lamp();
    let device = Device { product: &product, target: Target::Module, floor: 17 };
    assert_eq!(policy.verify(&device, manifest, &IMAGE).map(|_| ()), expected);
}

/// The same text, signed again, after it was changed like this.
fn resigned(change: impl FnOnce(String) -> String) -> Vec<u8> {
    let mut bytes = change(manifest().text()).into_bytes();
    let signature = owner(1).sign(&bytes);
    bytes.extend_from_slice(format!("signature {}\n", hex(signature.as_ref())).as_bytes());
    bytes
}

fn malformed(why: &'static str) -> Result<(), Rejected> {
    Err(Rejected::Malformed(why))
}

#[test]
fn a_manifest_reads_as_the_manual_says() {
    let zeros = "07".repeat(32);
    let text = format!(
        "polylink-manifest 1\nproduct lamp\ntarget module\nversion 1.4.2\ncounter 17\nsize 5\nsha256 {zeros}\nsignature "
    );
    let bytes = manifest().sign(&owner(1));
    assert_eq!(std::str::from_utf8(&bytes).expect("text").split_at(text.len()).0, text);
    assert_eq!(policy().authentic(&bytes), Ok(manifest()));
}

#[test]
fn an_image_that_the_owner_signed_is_taken() {
    let bytes = manifest().sign(&owner(1));
    check(&policy(), Some(&bytes), Ok(()));
    let second = Policy { keys: vec![public(&owner(2)), public(&owner(1))], ..policy() };
    check(&second, Some(&bytes), Ok(()));
}

#[test]
fn an_image_without_a_manifest_is_taken_only_where_none_is_required() {
    check(&policy(), None, Err(Rejected::NoManifest));
    let lax = Policy { require_manifest: false, ..policy() };
    check(&lax, None, Ok(()));
    check(&lax, Some(b""), malformed("it does not end with one signature"));
    check(&Policy { keys: Vec::new(), ..lax }, Some(&manifest().sign(&owner(1))), Err(Rejected::NoKeys));
}

#[test]
fn absent_empty_short_extra_and_foreign_signatures_are_refused() {
    let none = malformed("it does not end with one signature");
    let text = manifest().text();
    check(&policy(), Some(text.as_bytes()), none.clone());
    check(&policy(), Some(format!("{text}signature \n").as_bytes()), none.clone());
    check(&policy(), Some(format!("{text}signature {}\n", "0".repeat(126)).as_bytes()), none.clone());
    check(&policy(), Some(format!("{text}signature {}\n", "0".repeat(128)).as_bytes()), Err(Rejected::Signature));
    check(&policy(), Some(&manifest().sign(&owner(2))), Err(Rejected::Signature));
    let good = manifest().sign(&owner(1));
    let upper = good[..text.len() + 10].iter().copied().chain(good[text.len() + 10..].to_ascii_uppercase());
    check(&policy(), Some(&upper.collect::<Vec<_>>()), none.clone());
    check(&policy(), Some(&[&good[..], b"\n"].concat()), none);
    // A second signature over the first one's text, by the owner, and by another.
    for pair in [owner(1), owner(2)] {
        let line = format!("signature {}\n", hex(pair.sign(text.as_bytes()).as_ref()));
        check(&policy(), Some(&[&good[..], line.as_bytes()].concat()), Err(Rejected::Signature));
    }
    // And over text and first signature, which is then part of what is signed.
    let twice = resigned(|text| text + "signature 00\n");
    check(&policy(), Some(&twice), malformed("it has more in it than a manifest has"));
}

#[test]
fn an_image_for_another_device_is_refused() {
    let found = ProductKey::parse("fan").expect("a key");
    let other = Manifest { product: found.clone(), ..manifest() }.sign(&owner(1));
    check(&policy(), Some(&other), Err(Rejected::Product { found, ours: lamp() }));
    let mcu = Manifest { target: Target::Mcu, ..manifest() }.sign(&owner(1));
    check(&policy(), Some(&mcu), Err(Rejected::Target { found: Target::Mcu, wanted: Target::Module }));
}

#[test]
fn a_smaller_counter_is_a_rollback_and_the_same_one_a_repair() {
    let with = |counter| Manifest { counter, ..manifest() }.sign(&owner(1));
    check(&policy(), Some(&with(16)), Err(Rejected::Downgrade { found: 16, floor: 17 }));
    check(&policy(), Some(&with(17)), Ok(()));
    check(&policy(), Some(&with(u64::MAX)), Ok(()));
    check(&Policy { allow_downgrade: true, ..policy() }, Some(&with(16)), Ok(()));
}

#[test]
fn an_image_of_another_size_or_content_is_refused() {
    let size = Manifest { facts: Facts { size: 6, ..IMAGE }, ..manifest() }.sign(&owner(1));
    check(&policy(), Some(&size), Err(Rejected::Size { found: 5, signed: 6 }));
    let content = Manifest { facts: Facts { sha256: [8; 32], ..IMAGE }, ..manifest() }.sign(&owner(1));
    check(&policy(), Some(&content), Err(Rejected::Content));
}

#[test]
fn there_is_one_spelling_only() {
    let swap = |from: &str, to: &str| resigned(|text| text.replace(from, to));
    let more = "it has more in it than a manifest has";
    check(&policy(), Some(&swap("counter 17", "counter 017")), malformed(more));
    check(&policy(), Some(&swap("size 5", "size +5")), malformed(more));
    check(&policy(), Some(&resigned(|text| text + "note hello\n")), malformed(more));
    check(&policy(), Some(&resigned(|text| text.trim_end().to_owned())), malformed(more));
    check(&policy(), Some(&swap("counter 17", "counter -1")), malformed("its counter is no number"));
    check(&policy(), Some(&swap("target module", "target toaster")), malformed("its target is not known"));
    check(&policy(), Some(&swap("\n", "\r\n")), malformed("its first line is not `polylink-manifest 1`"));
    check(&policy(), Some(&swap("manifest 1", "manifest 2")), malformed("its first line is not `polylink-manifest 1`"));
    check(&policy(), Some(&swap("target module\n", "")), malformed("no target where it belongs"));
    check(&policy(), Some(&swap("1.4.2", "")), malformed("its version is not 1 to 64 visible ASCII characters"));
    check(&policy(), Some(&swap("0707", "0G07")), malformed("its sha256 is not 64 hex digits in lower case"));
    check(&policy(), Some(&[b'x'; MANIFEST_MAX + 1]), malformed("it is longer than any manifest"));
}

#[test]
fn a_key_under_which_anybody_can_sign_is_no_key() {
    // R is the neutral point and S is 0: right under a key of order n for one text in n, and a forger may try texts.
    let mut forged = [0; 64];
    forged[0] = 1;
    for weak in SMALL_ORDER {
        assert_eq!(PublicKey::of(weak), None);
        let mut negative = weak;
        negative[31] |= 0x80;
        assert_eq!(PublicKey::of(negative), None);
        let key = UnparsedPublicKey::new(&ED25519, weak);
        // Spellings that are not reduced may be refused by the library already.
        let reduced = weak[0] < 0xed || weak[31] != 0x7f;
        assert!(!reduced || (0..=255_u8).any(|text| key.verify(&[text], &forged).is_ok()), "{}", hex(&weak));
    }
    assert_eq!(PublicKey::parse(&"0".repeat(64)), None);
    assert!(PublicKey::parse(&public(&owner(1)).to_string()).is_some());
}

proptest! {
    #[test]
    fn one_flipped_bit_anywhere_is_noticed(at in 0..600_usize, bit in 0..8_u8) {
        let mut bytes = manifest().sign(&owner(1));
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        prop_assert!(policy().authentic(&bytes).is_err());
    }

    #[test]
    fn every_manifest_survives_the_wire(version in "[!-~]{1,64}", counter: u64, size: u64, sha256: [u8; 32]) {
        let version = Version::parse(&version).expect("a version");
        let manifest = Manifest { version, counter, facts: Facts { size, sha256 }, ..manifest() };
        prop_assert_eq!(policy().authentic(&manifest.sign(&owner(1))), Ok(manifest));
    }

    #[test]
    fn no_bytes_can_panic_the_parser(bytes: Vec<u8>, text in "\\PC{0,200}") {
        let _ = (policy().authentic(&bytes), Manifest::parse(&bytes), Manifest::parse(text.as_bytes()));
        let _ = Manifest::parse(format!("{FIRST}{text}").as_bytes());
    }
}
