/** The NAT of the simulated world, requirement by requirement of RFC 4787. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Endpoint } from '../../lib/base/address.ts';
import { NAT_BEHAVIOURS } from './behaviours.ts';
import { SeededRandom } from './link.ts';
import { Nat, type NatBehaviour } from './nat.ts';

const test = suite('nat');
const INSIDE = { address: '192.168.1.10', port: 5000 };
const OTHER = { address: '192.168.1.11', port: 5000 };
const X1 = { address: '198.51.100.1', port: 1000 };
const X1_OTHER_PORT = { address: '198.51.100.1', port: 1001 };
const X2 = { address: '198.51.100.2', port: 1000 };
const MAPS_BY = [
  ['ei', 1, 1],
  ['ad', 1, 2],
  ['apd', 2, 2],
] as const;

function make(behaviour: Partial<NatBehaviour> = {}): Nat {
  const whole = { mapping: 'endpoint-independent', filtering: 'endpoint-independent', ...behaviour } as const;
  return new Nat(whole, '203.0.113.1', new SeededRandom(1));
}

function outside(nat: Nat, remote: Endpoint, nowMs = 0, inside = INSIDE): string {
  const { address, port } = nat.outbound(nowMs, inside, remote);
  assert.is(address, '203.0.113.1');
  return String(port);
}

for (const [mapping, sameAddress, otherAddress] of MAPS_BY) {
  test(`mapping ${mapping}: another port of a remote shares the mapping or not, and so does another address (§4.1)`, () => {
    for (const filtering of ['ei', 'ad', 'apd']) {
      const nat = make(NAT_BEHAVIOURS.get(`${mapping}-${filtering}`)!);
      assert.is(outside(nat, X1), outside(nat, X1));
      assert.is(new Set([outside(nat, X1), outside(nat, X1_OTHER_PORT)]).size, sameAddress);
      assert.is(new Set([outside(nat, X1), outside(nat, X2)]).size, otherAddress);
    }
  });
}

for (const [filtering, fromOtherPort, fromOtherAddress] of [
  ['ei', true, true],
  ['ad', true, false],
  ['apd', false, false],
] as const) {
  test(`filtering ${filtering}: what comes in depends on where the inside endpoint has sent to (§5)`, () => {
    for (const mapping of ['ei', 'ad', 'apd']) {
      const nat = make(NAT_BEHAVIOURS.get(`${mapping}-${filtering}`)!);
      const to = nat.outbound(0, INSIDE, X1);
      assert.equal(nat.inbound(1, to, X1), INSIDE);
      assert.equal(nat.inbound(1, to, X1_OTHER_PORT), fromOtherPort ? INSIDE : undefined);
      assert.equal(nat.inbound(1, to, X2), fromOtherAddress ? INSIDE : undefined);
      assert.is(nat.inbound(1, { ...to, port: to.port ^ 1 }, X1), undefined, 'no mapping, no way in');
    }
  });
}

test('a filter permits by inside endpoint, not by mapping: a remote that was sent to gets in at another mapping', () => {
  const nat = make(NAT_BEHAVIOURS.get('apd-ad')!);
  const reflexive = nat.outbound(0, INSIDE, X1);
  assert.is(nat.inbound(0, reflexive, X2), undefined);
  nat.outbound(0, INSIDE, X2);
  assert.equal(nat.inbound(0, reflexive, X2), INSIDE);
});

test('two inside endpoints never share an outside port, even if both want the same one preserved (§4.2.1)', () => {
  const nat = make({ ports: 'preserved' });
  assert.is(outside(nat, X1), '5000');
  assert.is.not(outside(nat, X1, 0, OTHER), '5000');
  assert.is(outside(nat, X2), '5000');
});

test('a preserved port makes one outside endpoint of mappings that differ by remote', () => {
  const nat = make({
    mapping: 'address-and-port-dependent',
    filtering: 'address-and-port-dependent',
    ports: 'preserved',
  });
  assert.is(outside(nat, X1), outside(nat, X2));
  assert.equal(nat.inbound(0, { address: '203.0.113.1', port: 5000 }, X2), INSIDE);
  assert.is(nat.inbound(0, { address: '203.0.113.1', port: 5000 }, X1_OTHER_PORT), undefined);
});

test('a mapping lives until its idle time is over, and going out renews it (§4.3)', () => {
  const nat = make({ expiryMs: 30_000 });
  const port = outside(nat, X1, 0);
  assert.is(outside(nat, X1, 29_999), port);
  assert.equal(nat.inbound(59_998, { address: '203.0.113.1', port: Number(port) }, X1), INSIDE);
  assert.is(nat.inbound(59_999, { address: '203.0.113.1', port: Number(port) }, X1), undefined);
  assert.is.not(outside(nat, X1, 59_999), port);
});

test('what comes in renews a mapping only where the NAT says so', () => {
  for (const refreshesInbound of [false, true]) {
    const nat = make({ expiryMs: 30_000, refreshesInbound, filtering: 'address-dependent' });
    const to = nat.outbound(0, INSIDE, X1);
    assert.equal(nat.inbound(20_000, to, X1), INSIDE);
    assert.equal(nat.inbound(40_000, to, X1), refreshesInbound ? INSIDE : undefined);
  }
});

test('a permission ends like a mapping, also while the mapping lives by other traffic', () => {
  const nat = make({ expiryMs: 30_000, filtering: 'address-dependent' });
  const to = nat.outbound(0, INSIDE, X1);
  nat.outbound(20_000, INSIDE, X2);
  assert.equal(nat.inbound(29_999, to, X1), INSIDE);
  assert.is(nat.inbound(30_000, to, X1), undefined);
  assert.equal(nat.inbound(30_000, to, X2), INSIDE);
});

test('a restart forgets mappings and permissions, and ports are others then', () => {
  const nat = make({ ports: 'preserved' });
  const to = nat.outbound(0, INSIDE, X1);
  nat.reboot();
  assert.is(nat.inbound(1, to, X1), undefined);
  assert.is.not(outside(nat, X1, 1), String(to.port));
});

test('a firewall translates nothing and lets in what was asked for', () => {
  const nat = make({ mapping: 'none', filtering: 'address-and-port-dependent' });
  assert.equal(nat.outbound(0, INSIDE, X1), INSIDE);
  assert.equal(nat.inbound(0, INSIDE, X1), INSIDE);
  assert.is(nat.inbound(0, INSIDE, X2), undefined);
  const open = make({ mapping: 'none', filtering: 'endpoint-independent' });
  assert.is(open.inbound(0, INSIDE, X1), undefined, 'nothing was sent yet');
  open.outbound(0, INSIDE, X1);
  assert.equal(open.inbound(0, INSIDE, X2), INSIDE);
});

test.run();
