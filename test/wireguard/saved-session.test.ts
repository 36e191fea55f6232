/** Sessions that sleep: saved, restored once, and refused when they are of no use any more. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { dropName } from '../../lib/base/drop.ts';
import { Slot } from '../../lib/base/slot.ts';
import { SecretKey } from '../../lib/crypto/keys.ts';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import { SAVED_SESSION_BYTES } from '../../lib/wireguard/saved-session.ts';
import { Tunnel } from '../../lib/wireguard/tunnel.ts';
import { at, packet, prefix, seededRandom, START_UNIX_MS } from './support.ts';

const test = suite('saved sessions');
const noble = createNobleSuite();
const KEYS = [1, 2].map(byte => SecretKey.fromBytes(new Uint8Array(32).fill(byte * 8)));
const ADDRESSES = ['10.0.0.1', '10.0.0.2'];
const PLACES = [at('192.0.2.1:1'), at('192.0.2.2:2')];

/** One end; `which` is 0 or 1, and the other is its peer. */
class End {
  readonly tunnel: Tunnel;
  readonly peer: number;
  readonly #which: number;
  readonly #slot = new Slot(1420);

  constructor(which: number, nowMs: number, unixMs: number, keepsSessions = true, seed = 5) {
    const random = seededRandom(seed * 2 + which);
    this.#which = which;
    this.tunnel = new Tunnel({ nowMs, unixMs, random, suite: noble, privateKey: KEYS[which]!, keepsSessions });
    const publicKey = new Uint8Array(32);
    noble.publicKey(publicKey, KEYS[1 - which]!.bytes);
    const allowedIPs = [prefix(`${ADDRESSES[1 - which]}/32`)];
    this.peer = this.tunnel.addPeer(nowMs, { publicKey, allowedIPs, endpoint: PLACES[1 - which]! });
  }

  /** Sends a packet; what leaves at once or soon. */
  send(nowMs: number, fill = 0x61): Uint8Array[] {
    const inner = packet(ADDRESSES[this.#which]!, ADDRESSES[1 - this.#which]!, 60, fill);
    const slot = this.#slot;
    slot.reset();
    slot.buf.set(inner, slot.start);
    slot.end = slot.start + inner.length;
    const length = this.tunnel.encapsulate(nowMs, slot);
    const out = length > 0 ? [slot.buf.slice(slot.start, slot.end)] : [];
    return [...out, ...this.flush(nowMs)];
  }

  flush(nowMs: number): Uint8Array[] {
    const out: Uint8Array[] = [];
    while (this.tunnel.pollTransmit(nowMs, this.#slot))
      out.push(this.#slot.buf.slice(this.#slot.start, this.#slot.end));
    return out;
  }

  /** Takes datagrams: bytes of inner packets, or names of drops. */
  take(nowMs: number, datagrams: readonly Uint8Array[]): (number | string)[] {
    return datagrams.map(bytes => {
      const result = this.tunnel.decapsulate(nowMs, bytes.slice(), 0, bytes.length, PLACES[1 - this.#which]!);
      return result < 0 ? dropName(result) : result;
    });
  }

  saved(nowMs: number): Uint8Array | undefined {
    return this.tunnel.takeSessions(nowMs)[0]?.bytes;
  }
}

/** Both ends with a session, a few packets into it, at 1000 ms. */
function talked(): [End, End] {
  const [a, b] = [new End(0, 1000, START_UNIX_MS), new End(1, 1000, START_UNIX_MS)];
  let flight = a.send(1000);
  for (let turn = 0; flight.length > 0 && turn < 8; turn++) {
    const [from, to] = turn % 2 === 0 ? [a, b] : [b, a];
    void from;
    to.take(1000, flight);
    flight = to.flush(1000);
  }
  for (let i = 0; i < 3; i++) {
    assert.equal(b.take(1000, a.send(1000)), [60]);
    assert.equal(a.take(1000, b.send(1000)), [60]);
  }
  return [a, b];
}

test('a session that was saved goes on in the next run without a handshake, under new counters', () => {
  const [a, b] = talked();
  const early = a.send(1000);
  const bytes = a.saved(2000)!;
  assert.is(bytes.length, SAVED_SESSION_BYTES);
  a.tunnel.close(2000);
  // Another run: its monotonic clock begins anew.
  const woken = new End(0, 50, START_UNIX_MS + 31_000, true, 6);
  assert.is(woken.tunnel.resumeSession(50, woken.peer, bytes), true);
  const first = woken.send(50);
  assert.equal(
    first.map(datagram => datagram[0]),
    [4],
    'data, at once',
  );
  assert.ok(first[0]![8]! > early[0]![8]!, 'no counter is used twice');
  assert.equal(b.take(31_000, early), [60]);
  assert.equal(b.take(31_000, first), [60]);
  assert.equal(woken.take(60, b.send(31_000)), [60]);
});

test('what came before sleep does not come again', () => {
  const [a, b] = talked();
  const late = b.send(1000);
  assert.equal(a.take(1000, late), [60]);
  const woken = new End(0, 50, START_UNIX_MS + 1000, true, 6);
  woken.tunnel.resumeSession(50, woken.peer, a.saved(1500)!);
  assert.equal(woken.take(60, late), ['wg-replay']);
  assert.equal(woken.take(60, b.send(1000)), [60]);
});

test('whoever has saved a session has none any more', () => {
  const [a] = talked();
  assert.ok(a.saved(1500));
  assert.is(a.tunnel.isActive(a.peer), false);
  assert.equal(
    a.send(1500).map(datagram => datagram[0]),
    [1],
    'a handshake',
  );
  assert.is(a.saved(1500), undefined);
});

test('a session that is to be renewed anyway is not worth saving', () => {
  const [a] = talked();
  assert.ok(talked()[0].saved(120_999));
  assert.is(a.saved(121_000), undefined);
});

test('a session is too old after two minutes by the wall clock, and none is from the future', () => {
  const [a] = talked();
  const bytes = a.saved(1000)!;
  const resumed = (unixMs: number) => {
    const woken = new End(0, 50, unixMs, true, 6);
    return woken.tunnel.resumeSession(50, woken.peer, bytes);
  };
  assert.is(resumed(START_UNIX_MS + 119_999), true);
  assert.is(resumed(START_UNIX_MS + 120_000), false);
  assert.is(resumed(START_UNIX_MS - 1), false);
  assert.is(resumed(0), false, 'a clock that begins at 1970');
});

test('a session that has been resumed ends when it would have ended', () => {
  const [a] = talked();
  const woken = new End(0, 50, START_UNIX_MS + 100_000, true, 6);
  woken.tunnel.resumeSession(50, woken.peer, a.saved(1000)!);
  assert.equal(
    woken
      .send(80_049)
      .map(datagram => datagram[0])
      .slice(0, 1),
    [4],
  );
  assert.equal(
    woken
      .send(80_050)
      .map(datagram => datagram[0])
      .filter(type => type === 4),
    [],
  );
});

test('an index that is in use is not taken over', () => {
  const [a] = talked();
  const bytes = a.saved(1000)!;
  const woken = new End(0, 50, START_UNIX_MS + 1000, true, 6);
  assert.is(woken.tunnel.resumeSession(50, woken.peer, bytes), true);
  assert.is(woken.tunnel.resumeSession(50, woken.peer, bytes), false);
});

test('bytes that are no session are none, and without the option none is saved', () => {
  const [a] = talked();
  const bytes = a.saved(1000)!;
  const woken = new End(0, 50, START_UNIX_MS + 1000, true, 6);
  for (const spoiled of [bytes.slice(1), bytes.slice(0, -1), new Uint8Array(0), bytes.slice().fill(9, 0, 1)])
    assert.is(woken.tunnel.resumeSession(50, woken.peer, spoiled), false);
  const [b, c] = [new End(0, 1000, START_UNIX_MS, false), new End(1, 1000, START_UNIX_MS, false)];
  c.take(1000, b.send(1000));
  b.take(1000, c.flush(1000));
  assert.equal(b.tunnel.takeSessions(1000), []);
});

test.run();
