/**
 * The handshake, a keepalive, a cookie reply and a mac2 byte for byte. All secrets are 32 equal bytes; the code that
 * made the vectors had talked to stock WireGuard in both roles before.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { toHex } from '../../lib/base/bytes.ts';
import { Slot } from '../../lib/base/slot.ts';
import { SecretKey } from '../../lib/crypto/keys.ts';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import { Handshaker } from '../../lib/wireguard/handshake.ts';
import { cookieKey, openCookieReply, writeMacs } from '../../lib/wireguard/mac.ts';
import { tickOf } from '../../lib/wireguard/tai64n.ts';
import { Tunnel } from '../../lib/wireguard/tunnel.ts';
import { A_ENDPOINT, B_ENDPOINT, hex, prefix, repeated } from './support.ts';

const test = suite('wireguard vectors');
const crypto = createNobleSuite();

const INITIATION =
  '0100000044332211ce8d3ad1ccb633ec7b70c17814a5c76ecd029685050d344745ba05870e587d59e071c69040941f890172e72e6662f05122ee15ef25b328c29cd11010e779aa94be3a4c127d2b7cb9f6534df390c0672bfa7aad9b6f05462425358d2150fb3e77190ba4c64fcebad5fa322c00d0f727ee261887bd65bd88f8eb623f7200000000000000000000000000000000';
const PUBLIC = {
  initiator: 'a4e09292b651c278b9772c569f5fa9bb13d906b46ab68c9df9dc2b4409f8a209',
  responder: '5dfedd3b6bd47f6fa28ee15d969d5bb0ea53774d488bdaf9df1c6e0124b3ef22',
};
const VARIANTS = [
  {
    name: 'with a preshared key',
    psk: repeated(5),
    response:
      '020000008877665544332211ac01b2209e86354fb853237b5de0f4fab13c7fcbf433a61c019369617fecf10b253ac993d7cf1ebb0fd2820a99efc311ea7a88026b09a351a39451361f5628f500000000000000000000000000000000',
    keepalive: '040000008877665500000000000000002506ced6f427740e9c840da55b2896dc',
    send: '03cbd449e17a6c83186e51c449f2e78e26ea3235f4210f71aa3bf24332b0fa7e',
    receive: '539378d7413e9ea9a531524c1ecd1ffa5739c2c2b03e6b4691b6adeb22a75db6',
  },
  {
    name: 'without a preshared key',
    psk: undefined,
    response:
      '020000008877665544332211ac01b2209e86354fb853237b5de0f4fab13c7fcbf433a61c019369617fecf10b3bfc20614ec809df8d4c1dcc394195960a2c41e591509e94501c6903b344ade000000000000000000000000000000000',
    keepalive: '040000008877665500000000000000006449d884899800d42608a4bd8206f08f',
    send: '02ad1ecb69defe838091565beb4b66bf6c6b6f77c43e1239896e29723983f229',
    receive: '3ef1e593bd6f13d5cfc5f2e4468cd04bff82732a32d4a34128672abe2d3a68f6',
  },
];
/** TAI64N 400000006500000a00000000. */
const UNIX_MS = 0x6500_0000 * 1000;
const COOKIE_REPLY =
  '03000000443322110707070707070707070707070707070707070707070707079cf411f99ca0d94778134cc522581eb9e7be3150d126bab6d4d7df493c2b759c';
const MAC1 = 'd0f727ee261887bd65bd88f8eb623f72';
const MAC2 = '1f3ee48301d8f20442ac80144f27d1bc';

/** Draws the index where 4 bytes are asked for (then the one after it), the ephemeral secret where 32 are. */
function scripted(index: string, ephemeral: number) {
  let draws = 0;
  return (out: Uint8Array) => {
    out.set(out.length === 4 ? hex(index) : repeated(ephemeral, out.length));
    // A new tunnel seeds its tables and its jitter with four words; the fifth is the first index.
    if (out.length === 4 && ++draws > 5) out[0]! += draws;
  };
}

function initiator(psk?: Uint8Array): Tunnel {
  const tunnel = new Tunnel({
    nowMs: 0,
    unixMs: UNIX_MS,
    random: scripted('44332211', 2),
    suite: crypto,
    privateKey: SecretKey.fromBytes(repeated(1)),
  });
  tunnel.addPeer(0, {
    publicKey: hex(PUBLIC.responder),
    presharedKey: psk,
    endpoint: B_ENDPOINT,
    allowedIPs: [prefix('0.0.0.0/0')],
  });
  return tunnel;
}

function responder(psk?: Uint8Array): Tunnel {
  const tunnel = new Tunnel({
    nowMs: 0,
    unixMs: 0,
    random: scripted('88776655', 4),
    suite: crypto,
    privateKey: SecretKey.fromBytes(repeated(3)),
  });
  tunnel.addPeer(0, { publicKey: hex(PUBLIC.initiator), presharedKey: psk, allowedIPs: [] });
  return tunnel;
}

/** The next datagram of a tunnel as hex. */
function poll(tunnel: Tunnel): string | undefined {
  const slot = new Slot(1500);
  return tunnel.pollTransmit(0, slot) ? toHex(slot.buf.subarray(slot.start, slot.end)) : undefined;
}

test('public keys are those of the secrets', () => {
  assert.is(toHex(initiator().publicKey), PUBLIC.initiator);
  assert.is(toHex(responder().publicKey), PUBLIC.responder);
});

for (const { name, psk, response, keepalive, send, receive } of VARIANTS) {
  test(`initiation, response and keepalive ${name} are right byte for byte in both roles`, () => {
    const [a, b] = [initiator(psk), responder(psk)];
    a.connect(0, 0);
    assert.is(poll(a), INITIATION);
    assert.is(b.decapsulate(0, hex(INITIATION), 0, 148, A_ENDPOINT), 0);
    assert.is(poll(b), response);
    assert.is(a.decapsulate(0, hex(response), 0, 92, B_ENDPOINT), 0);
    assert.is(poll(a), keepalive);
    assert.is(b.decapsulate(0, hex(keepalive), 0, 32, A_ENDPOINT), 0);
    assert.equal(b.pollEvent(), { type: 'endpoint', peer: 0, endpoint: A_ENDPOINT });
    assert.equal(b.pollEvent(), { type: 'handshake', peer: 0, isInitiator: false });
    assert.is(a.drops.total + b.drops.total, 0);
  });

  test(`the transport keys ${name} are right in the order of the initiator`, () => {
    const side = new Handshaker(crypto, scripted('44332211', 2), SecretKey.fromBytes(repeated(1)));
    const buf = new Uint8Array(148);
    const remoteStatic = hex(PUBLIC.responder);
    const staticStatic = side.staticStatic(remoteStatic)!;
    const tick = tickOf(UNIX_MS);
    const pending = side.writeInitiation(buf, 0, {
      peerId: 0,
      localIndex: 0x1122_3344,
      remoteStatic,
      staticStatic,
      tick,
      cookie: undefined,
    })!;
    assert.is(toHex(buf), INITIATION);
    const keys = side.readResponse(pending, hex(response), 0, psk ?? repeated(0));
    assert.ok(typeof keys !== 'number');
    assert.equal([toHex(keys.sendKey), toHex(keys.receiveKey)], [send, receive]);
  });
}

test('the responder with another preshared key makes a response that is refused', () => {
  const [a, b] = [initiator(repeated(5)), responder(repeated(6))];
  a.connect(0, 0);
  b.decapsulate(0, hex(poll(a)!), 0, 148, A_ENDPOINT);
  assert.ok(a.decapsulate(0, hex(poll(b)!), 0, 92, B_ENDPOINT) < 0);
  assert.is(a.drops.get('wg-handshake-decrypt'), 1);
});

test('the cookie key, the cookie reply and the mac2 made with it are right byte for byte', () => {
  const key = cookieKey(crypto, hex(PUBLIC.responder));
  assert.is(toHex(key), '11fc27de184534469043dcb12c48a0e44b39b5788d9fdbf3e62bf658c4e1bdc4');
  const sealed = new Uint8Array(32);
  crypto.xaeadSeal(sealed, key, repeated(7, 24), hex(MAC1), repeated(8, 16));
  assert.is(toHex(sealed), COOKIE_REPLY.slice(64));
  const cookie = openCookieReply(crypto, hex(COOKIE_REPLY), 0, hex(PUBLIC.responder), hex(MAC1));
  assert.equal(cookie, repeated(8, 16));
  const message = hex(INITIATION);
  writeMacs(crypto, message, 0, 116, hex(PUBLIC.responder), cookie);
  assert.is(toHex(message), INITIATION.slice(0, 264) + MAC2);
});

test('an initiator takes the cookie reply in and shows the cookie in its next initiation', () => {
  const a = initiator();
  a.connect(0, 0);
  poll(a);
  assert.is(a.decapsulate(0, hex(COOKIE_REPLY), 0, 64, B_ENDPOINT), 0);
  assert.is(poll(a), undefined);
  const slot = new Slot(1500);
  a.handleTimeout(5_333);
  assert.ok(a.pollTransmit(5_333, slot));
  const message = slot.buf.slice(slot.start, slot.end);
  const expected = message.slice();
  writeMacs(crypto, expected, 0, 116, hex(PUBLIC.responder), repeated(8, 16));
  assert.equal(message, expected);
});

test.run();
