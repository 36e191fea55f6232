import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { fromHex } from '../../lib/base/bytes.ts';
import { dropName } from '../../lib/base/drop.ts';
import { classify, classifyQuote, Packet } from '../../lib/packet/classify.ts';
import { seededRandom } from '../netstack/helpers.ts';
import {
  counting,
  extension,
  fragmentHeader,
  icmp4,
  icmp6,
  join,
  slowChecksum,
  u16,
  udp,
  v4,
  v6,
  VECTORS,
} from './build.ts';

const test = suite('packet/classify');

interface Seen {
  family: number;
  end: number;
  protocol: number;
  payload: number;
  ports: [number, number];
  fragment: [number, boolean, number] | undefined;
}

/** What lib sees in a packet at offset 5 of its buffer, with offsets relative to the packet; or a reason. */
function see(packet: Uint8Array): Seen | string {
  const out = new Packet();
  const reason = classify(join([6, 6, 6, 6, 6], packet, [1, 2, 3]), 5, 5 + packet.length, out);
  if (reason < 0) return dropName(reason);
  return {
    family: out.family,
    end: out.end - 5,
    protocol: out.protocol,
    payload: out.payload - 5,
    ports: [out.sourcePort, out.destinationPort],
    fragment: out.isFragment ? [out.fragmentOffset, out.hasMoreFragments, out.fragmentId] : undefined,
  };
}

/** The same from the RFCs again, on slices and objects: the oracle. Undefined is a drop. */
function oracle(packet: Uint8Array): Seen | undefined {
  const u16at = (buf: Uint8Array, i: number) => buf[i]! * 256 + buf[i + 1]!;
  const version = packet.length > 0 ? packet[0]! >> 4 : 0;
  let family = 4;
  let rest: Uint8Array;
  let protocol: number;
  let end: number;
  let fragment: [number, boolean, number] | undefined;
  if (version === 4) {
    if (packet.length < 20) return undefined;
    const header = (packet[0]! % 16) * 4;
    end = u16at(packet, 2);
    if (header < 20 || end < header || end > packet.length) return undefined;
    if (slowChecksum(packet.slice(0, header)) !== 0) return undefined;
    for (let options = packet.slice(20, header); options.length > 0 && options[0] !== 0; ) {
      if (options[0] === 1) options = options.slice(1);
      else if (options.length < 2 || options[1]! < 2 || options[1]! > options.length) return undefined;
      else if (options[0] === 131 || options[0] === 137) return undefined;
      else options = options.slice(options[1]);
    }
    rest = packet.slice(header, end);
    protocol = packet[9]!;
    const word = u16at(packet, 6);
    const offset = (word % 0x2000) * 8;
    const more = (word & 0x2000) !== 0;
    if (more && rest.length % 8 !== 0) return undefined;
    if (offset + rest.length > 65515) return undefined;
    if (offset > 0 || more) fragment = [offset, more, u16at(packet, 4)];
  } else if (version === 6) {
    family = 6;
    if (packet.length < 40) return undefined;
    end = 40 + u16at(packet, 4);
    if (end > packet.length) return undefined;
    rest = packet.slice(40, end);
    protocol = packet[6]!;
    let seenFragment = false;
    for (let headers = 0, bytes = 0; [0, 43, 44, 60].includes(protocol); headers++) {
      if (headers === 8 || rest.length < 8) return undefined;
      const length = protocol === 44 ? 8 : 8 * (rest[1]! + 1);
      bytes += length;
      if (rest.length < length || bytes > 512) return undefined;
      if (protocol === 0 && headers > 0) return undefined;
      if (protocol === 43 && (rest[2] === 0 || rest[3] !== 0)) return undefined;
      if (protocol === 0 || protocol === 60) {
        let options = rest.slice(2, length);
        for (let count = 0; options.length > 0; ) {
          if (options[0] === 0) options = options.slice(1);
          else {
            if (options.length < 2 || options.length < 2 + options[1]!) return undefined;
            if (options[0] !== 1 && ++count > 8) return undefined;
            if (options[0]! >= 0x40) return undefined;
            options = options.slice(2 + options[1]!);
          }
        }
      }
      const next = rest[0]!;
      const body = rest.slice(length);
      if (protocol === 44) {
        if (seenFragment) return undefined;
        seenFragment = true;
        const offset = u16at(rest, 2) & ~7;
        const more = rest[3]! % 2 === 1;
        if (more && body.length % 8 !== 0) return undefined;
        if (offset + body.length > 65535) return undefined;
        if (offset > 0 || more) fragment = [offset, more, u16at(rest, 4) * 65536 + u16at(rest, 6)];
      }
      protocol = next;
      rest = body;
      if (fragment !== undefined && fragment[0] > 0) break;
    }
  } else return undefined;
  const payload = end - rest.length;
  const isLater = fragment !== undefined && fragment[0] > 0;
  const least =
    new Map([
      [6, 20],
      [17, 8],
      [1, 8],
      [58, 8],
    ]).get(protocol) ?? 0;
  if (fragment !== undefined && !isLater && rest.length < least) return undefined;
  const hasPorts = !isLater && (protocol === 6 || protocol === 17) && rest.length >= least;
  const ports: [number, number] = hasPorts ? [u16at(rest, 0), u16at(rest, 2)] : [-1, -1];
  return { family, end, protocol, payload, ports, fragment };
}

const SEEDS: Uint8Array[] = [
  ...Object.values(VECTORS).map(hex => fromHex(hex)!),
  v4({ options: [7, 7, 4, 0, 0, 0, 0, 0] }, udp({}, counting(9))),
  v4({ flags: 0x2000, id: 77 }, counting(24)),
  v4({ flags: 0x0003, id: 77 }, counting(21)),
  v4({ protocol: 6 }, counting(32)),
  v4({ protocol: 1 }, icmp4(8, 0, 1, counting(4))),
  v6({ next: 58 }, icmp6('fd00::2', 'fd00::1', 128, 0, 1, counting(4))),
  v6(
    { next: 0 },
    join(extension(60, [5, 2, 0, 0]), extension(43, [0x1e, 2, 0, 0]), extension(17, [4, 0, 0, 0, 0, 0]), counting(24)),
  ),
  v6({ next: 44 }, join(fragmentHeader(60, 0, true, 9), extension(6, [1, 0]), counting(24))),
  v6({ next: 44 }, join(fragmentHeader(17, 64, false, 9), counting(13))),
  v6({ next: 44 }, join(fragmentHeader(17, 0, false, 9), counting(13))),
];

function agree(packet: Uint8Array, text: string): void {
  const got = see(packet);
  const expected = oracle(packet);
  if (expected === undefined) assert.type(got, 'string', text);
  else assert.equal(got, expected, text);
}

/** Makes the IPv4 header checksum right again, so that mutations reach what lies behind it. */
function mend(packet: Uint8Array): void {
  if (packet.length < 20 || packet[0]! >> 4 !== 4) return;
  const header = (packet[0]! & 15) * 4;
  if (header < 20 || header > packet.length) return;
  packet.set([0, 0], 10);
  packet.set(u16(slowChecksum(packet.slice(0, header))), 10);
}

test('ports, addresses and payload of plain packets are found', () => {
  assert.equal(see(fromHex(VECTORS.udp4)!), {
    family: 4,
    end: 33,
    protocol: 17,
    payload: 20,
    ports: [5353, 53],
    fragment: undefined,
  });
  assert.equal(see(fromHex(VECTORS.udp6)!), {
    family: 6,
    end: 53,
    protocol: 17,
    payload: 40,
    ports: [5353, 53],
    fragment: undefined,
  });
  const out = new Packet();
  assert.is(classify(fromHex(VECTORS.udp6)!, 0, 53, out), 0);
  assert.equal([out.source, out.destination, out.addressBytes], [8, 24, 16]);
});

test('padding behind the packet does not belong to it', () => {
  const seen = see(join(fromHex(VECTORS.udp4)!, [1, 2, 3, 4])) as Seen;
  assert.is(seen.end, 33);
});

test('nothing at all is malformed', () => {
  assert.is(see(new Uint8Array(0)), 'ip-malformed');
});

test('a packet whose ports cannot be known has none', () => {
  assert.equal((see(v4({ protocol: 17 }, counting(7))) as Seen).ports, [-1, -1]);
  assert.equal((see(v4({ protocol: 6 }, counting(19))) as Seen).ports, [-1, -1]);
  assert.equal((see(v4({ protocol: 132 }, counting(32))) as Seen).ports, [-1, -1]);
  assert.equal((see(v4({ flags: 0x0001 }, counting(32))) as Seen).ports, [-1, -1]);
  assert.equal((see(v6({ next: 44 }, join(fragmentHeader(17, 8, true, 1), counting(32)))) as Seen).ports, [-1, -1]);
  assert.equal((see(v6({ next: 51 }, counting(32))) as Seen).ports, [-1, -1]);
});

test('a first fragment that holds less than its transport header is malformed', () => {
  assert.is(see(v4({ flags: 0x2000, protocol: 6 }, counting(16))), 'ip-malformed');
  assert.type(see(v4({ flags: 0x2000, protocol: 6 }, counting(24))), 'object');
  assert.is(see(v6({ next: 44 }, join(fragmentHeader(6, 0, true, 1), counting(16)))), 'ip-malformed');
  assert.is(see(v6({ next: 44 }, join(fragmentHeader(60, 0, true, 1), extension(17, [1, 0])))), 'ip-malformed');
});

test('an IPv4 fragment that is not a multiple of 8 bytes is malformed, unless it is the last', () => {
  assert.is(see(v4({ flags: 0x2000 }, counting(20))), 'ip-malformed');
  assert.type(see(v4({ flags: 0x0001 }, counting(20))), 'object');
});

test('an IPv4 fragment that would end beyond the largest packet is malformed (ping of death)', () => {
  assert.type(see(v4({ flags: 8189 }, counting(3))), 'object'); // 65512 + 3 = 65515
  assert.is(see(v4({ flags: 8189 }, counting(4))), 'ip-malformed');
  assert.is(see(v4({ flags: 8191 }, counting(1400))), 'ip-malformed');
});

test('a reused result holds nothing of the packet before', () => {
  const out = new Packet();
  const fragment = v6({ next: 44 }, join(fragmentHeader(17, 0, true, 9), counting(24)));
  const broken = v6({ next: 43 }, extension(17, [0, 1]));
  const plain = fromHex(VECTORS.udp4)!;
  const fresh = new Packet();
  classify(plain, 0, plain.length, fresh);
  classify(fragment, 0, fragment.length, out);
  assert.ok(classify(broken, 0, broken.length, out) < 0);
  assert.is(out.problemCode, 0);
  assert.is(classify(plain, 0, plain.length, out), 0);
  assert.equal({ ...out, problemAt: 0 }, { ...fresh, problemAt: 0 });
  assert.ok(classify(plain, 0, 10, out) < 0);
  assert.equal([out.sourcePort, out.destinationPort, out.problemCode], [-1, -1, -1]);
});

test('real packets, cut off anywhere, agree with the oracle', () => {
  for (const seed of SEEDS)
    for (let length = 0; length <= seed.length; length++) agree(seed.slice(0, length), `${length} of ${seed}`);
});

test('real packets with every byte changed agree with the oracle', () => {
  for (const seed of SEEDS) {
    for (let i = 0; i < Math.min(seed.length, 80); i++) {
      for (const value of [0, 1, 6, 8, 17, 43, 44, 59, 60, 0x2f, 0x45, 0x46, 0x60, 0x7f, 0x80, 0xc2, 0xff]) {
        const packet = seed.slice();
        packet[i] = value;
        mend(packet);
        agree(packet, `byte ${i} = ${value} of ${seed}`);
      }
    }
  }
});

test('20,000 random and mutated packets agree with the oracle, and none throws', () => {
  const random = seededRandom(21);
  const draw = new Uint8Array(12);
  let accepted = 0;
  for (let i = 0; i < 20_000; i++) {
    random(draw);
    let packet: Uint8Array;
    if (i % 4 === 0) {
      packet = new Uint8Array(((draw[0]! << 8) | draw[1]!) % 120);
      random(packet);
      if (packet.length > 0) packet[0] = draw[2]! % 2 === 0 ? 0x45 + (draw[3]! % 11) : 0x60;
    } else {
      packet = SEEDS[draw[0]! % SEEDS.length]!.slice();
      for (let j = 0; j < 1 + (draw[1]! % 4); j++) packet[draw[2 + j]! % Math.min(packet.length, 80)] = draw[6 + j]!;
      if (draw[10]! % 4 === 0) packet = packet.slice(0, draw[11]! % (packet.length + 1));
    }
    if (draw[11]! % 8 !== 0) mend(packet);
    agree(packet, `${packet}`);
    if (typeof see(packet) !== 'string') accepted++;
  }
  assert.ok(accepted > 2000, `only ${accepted} were accepted: the test has lost its teeth`);
});

test('a quoted packet is read although most of it is missing', () => {
  const out = new Packet();
  const whole = v4({ src: '10.0.0.1', dst: '10.0.0.9' }, udp({ from: 7, to: 9 }, counting(1000)));
  assert.is(classifyQuote(whole, 0, 28, out), 0);
  assert.equal([out.family, out.protocol, out.payload, out.sourcePort, out.destinationPort], [4, 17, 20, 7, 9]);
  const whole6 = v6({}, udp({ from: 7, to: 9 }, counting(1000)));
  assert.is(classifyQuote(whole6, 0, 48, out), 0);
  assert.equal([out.family, out.protocol, out.payload, out.sourcePort, out.destinationPort], [6, 17, 40, 7, 9]);
  const first = v6({ next: 44 }, join(fragmentHeader(17, 0, true, 9), udp({ from: 7, to: 9 }, counting(1000))));
  assert.is(classifyQuote(first, 0, 56, out), 0);
  assert.equal([out.protocol, out.payload, out.sourcePort], [17, 48, 7]);
});

test('a quote without ports, of a later fragment, or of a foreign protocol names no flow', () => {
  const out = new Packet();
  const refuse = (packet: Uint8Array, end = packet.length) => assert.is(classifyQuote(packet, 0, end, out), -1);
  const whole = v4({}, udp({}, counting(8)));
  for (let end = 0; end < 28; end++) refuse(whole, end);
  const whole6 = v6({}, udp({}, counting(8)));
  for (let end = 0; end < 48; end++) refuse(whole6, end);
  refuse(v4({ flags: 5 }, counting(40)));
  refuse(v4({ protocol: 47 }, counting(40)));
  refuse(v4({ ihl: 4 }, counting(40)));
  refuse(v4({ version: 5 }, counting(40)));
  refuse(v6({ next: 44 }, join(fragmentHeader(17, 8, true, 9), counting(40))));
  refuse(v6({ next: 44 }, fragmentHeader(17, 0, true, 9)));
  refuse(v6({ next: 44 }, fragmentHeader(17, 0, true, 9).slice(0, 7)));
  refuse(v6({ next: 0 }, join(extension(17, [1, 0]), counting(40))));
});

test('any bytes can be a quote without a throw', () => {
  const random = seededRandom(22);
  const out = new Packet();
  for (let i = 0; i < 5000; i++) {
    const packet = new Uint8Array(i % 90);
    random(packet);
    if (packet.length > 0 && i % 2 === 0) packet[0] = i % 4 === 0 ? 0x45 : 0x60;
    const result = classifyQuote(packet, 0, packet.length, out);
    if (result === 0) assert.ok(out.payload + 8 <= packet.length);
  }
});

test.run();
