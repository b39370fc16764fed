//! Updates of the module by its clouds.

use polylink_testbed::owner::Owner;
use polylink_testbed::rig::binaries::{Binaries, Progress};

#[test]
fn two_owners_sign_the_same_image_differently_and_leave_it_as_it_is() {
    let binaries = Binaries::of(&[], Progress::Kept).unwrap();
    let sign = || {
        let owner = Owner::new(&binaries).unwrap();
        let signed = owner.sign(b"an image", "lamp-1", "module", "1.0", 3).unwrap();
        (owner.public_key().to_owned(), signed)
    };
    let (one, other) = (sign(), sign());
    assert!(one.0.len() == 64 && one.0 != other.0, "{} {}", one.0, other.0);
    assert!(one.1.starts_with(b"an imagepolylink-manifest 1\nproduct lamp-1\n") && one.1.ends_with(b"PLMANIF1"));
    assert!(one.1 != other.1);
}
