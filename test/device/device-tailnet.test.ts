/** A device with a tailnet: who sent a datagram through a relay is answered there, and its resolver. Neutral. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { toHex } from '../../lib/base/bytes.ts';
import { SecretKey } from '../../lib/crypto/keys.ts';
import { Device, type DeviceOptions } from '../../lib/device/device.ts';
import type { Tailnet } from '../../lib/device/tailnet.ts';
import { udpDatagram } from '../../lib/netstack/udp.ts';
import { createToySuite, seededRandom, withMacs } from '../wireguard/support.ts';

const test = suite('device with a tailnet');
const NOW_MS = 1000;
const COOKIE_REPLY = 3;

/** A tailnet of which only the relay is there: what it brings, and what is sent through it as `key type`. */
class FakeTailnet {
  readonly sent: string[] = [];
  readonly chunkBytes = 1000;
  readonly streams = { handleBytes: () => undefined };
  readonly #packets: Uint8Array[] = [];

  /** A node key, and a datagram behind it. */
  bring(key: Uint8Array, bytes: Uint8Array): void {
    const packet = new Uint8Array(32 + bytes.length);
    packet.set(key);
    packet.set(bytes, 32);
    this.#packets.push(packet);
  }

  pollPacket(): object | undefined {
    const packet = this.#packets.shift();
    return packet && { packet, packetStart: 32, packetEnd: packet.length, packetSource: 0 };
  }

  sendVia(_nowMs: number, region: number, key: Uint8Array, buf: Uint8Array, start: number): number {
    this.sent.push(`${region} ${toHex(key)} ${buf[start]!}`);
    return 0;
  }

  /** Answers with the question, backwards. */
  answerQuery(query: Uint8Array, start: number, end: number, out: Uint8Array): number {
    out.set(query.slice(start, end).reverse());
    return end - start;
  }

  noteRelayHeard(): void {}
  pollEvent(): undefined {}
  handleRelayed(): boolean {
    return false;
  }
  resolveKey(): boolean {
    return false;
  }
  pollDatagram(): boolean {
    return false;
  }
  pollInner(): boolean {
    return false;
  }
}

function deviceWith(tailnet: FakeTailnet): Device {
  return new Device({
    nowMs: NOW_MS,
    unixMs: NOW_MS,
    random: seededRandom(1),
    suite: createToySuite(),
    privateKey: SecretKey.fromBytes(new Uint8Array(32).fill(0x66)),
    addresses: [{ bytes: Uint8Array.of(100, 64, 0, 1), bits: 32 }],
    mtu: 1280,
    preset: 'small',
    parts: { createTailnet: () => tailnet as unknown as Tailnet },
    tailnet: {} as NonNullable<DeviceOptions['tailnet']>,
  });
}

test('a cookie reply to a sender behind a relay goes through the relay to that sender', () => {
  const tailnet = new FakeTailnet();
  const device = deviceWith(tailnet);
  const keys = [1, 2].map(byte => new Uint8Array(32).fill(byte));
  const junk = new Uint8Array(148);
  junk.set([1, 0, 0, 0]);
  for (let i = 0; i < 100; i++) {
    for (const key of keys) tailnet.bring(key, withMacs(junk, device.tunnel.publicKey));
    device.handleStreamBytes(NOW_MS, 1, new Uint8Array(1), 0, 1);
    assert.is(device.pollTransmit(NOW_MS), undefined, 'nothing goes out by UDP');
  }
  assert.ok(device.tunnel.isUnderLoad(NOW_MS), 'such a flood asks for cookies');
  const replies = new Set(tailnet.sent);
  assert.equal(replies, new Set(keys.map(key => `0 ${toHex(key)} ${COOKIE_REPLY}`)));
});

test("the tailnet's resolver answers the sockets of the application, and keeps its port", () => {
  const device = deviceWith(new FakeTailnet());
  const socket = device.udpBind(0);
  socket.send(NOW_MS, Uint8Array.of(1, 2, 3), 0, 3, Uint8Array.of(100, 100, 100, 100), 53);
  const answer = udpDatagram();
  for (let i = 0; i < 4; i++) {
    assert.is(device.pollTransmit(NOW_MS), undefined, 'nothing leaves');
    while (device.pollEvent() !== undefined);
  }
  assert.ok(socket.receive(answer));
  assert.equal([...answer.data.slice(answer.start, answer.end)], [3, 2, 1]);
  assert.is(answer.remotePort, 53);
  assert.throws(() => device.udpBind(53), /in use/);
});

test.run();
