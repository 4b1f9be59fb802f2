//! The program on an account of its own, from nothing to a deployment and back: what survives, and what is left.

#![allow(
    dead_code,
    reason = "which helpers are used depends on the tests that are there"
)]

mod alarms;
mod cases;
mod doctor;
mod eks;
mod eks_faults;
mod eks_sweep;
mod faults;
mod foreign;
mod host;
mod inventory;
mod lifecycle;
mod output;
mod people;
mod policy;
mod preflight;
mod scale;
mod secrets;
mod sweep;
mod witness;
mod work_sweep;
mod world;
mod xml;

use world::World;

#[test]
fn an_undisturbed_life_leaves_nothing_behind() {
    let Some(world) = World::open() else {
        return;
    };
    let before = world.inventory();
    let up = world.up(&[]);
    assert_eq!(up.code, 0, "{up}");
    let made = world.inventory();
    assert_ne!(made, before);
    assert_eq!(world.launched().len(), 1);
    let again = world.up(&[]);
    assert_eq!(again.code, 0, "{again}");
    assert_eq!(world.inventory(), made, "the second run changes nothing");
    let status = world.status(&[]);
    assert_eq!(status.code, 0, "{status}");
    let down = world.down(&[]);
    assert_eq!(down.code, 0, "{down}");
    assert_eq!(world.inventory(), before);
    let none = world.down(&[]);
    assert_eq!(none.code, 0, "{none}");
}
