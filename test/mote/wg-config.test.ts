/** The wg-quick file parser: real-world files, every error text, key material that must not show, and fuzz. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { nearestWord, parseWgConfig, WG_CONFIG_LIMIT, type WgConfig, WgConfigError } from '../../lib/mote/wg-config.ts';

const test = suite('wg-config');

const PRIVATE = 'yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=';
const PEER_A = 'xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=';
const PEER_B = 'TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=';
const PSK = '//////////////////////////////////////////8=';
const ZERO = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=';

const HEAD = `[Interface]\nPrivateKey = ${PRIVATE}\nAddress = 10.0.0.2/24\n`;
const PEER = `[Peer]\nPublicKey = ${PEER_A}\nAllowedIPs = 10.0.0.0/24\n`;

function failure(text: string): WgConfigError {
  try {
    parseWgConfig(text);
  } catch (error) {
    if (error instanceof WgConfigError) return error;
    throw error;
  }
  throw new Error(`parsed, but should not: ${text}`);
}

test('a file with everything gives every value in canonical form', () => {
  const text = [
    '# a comment',
    '[Interface]',
    `PrivateKey = ${PRIVATE} # the key`,
    'Address = 10.0.0.2/24, FD00:0::2/64',
    'Address = 192.0.2.7',
    'ListenPort = 51820',
    'MTU = 1400',
    'DNS = 10.0.0.1, 2001:DB8::53, corp.example',
    'Table = off',
    'FwMark = 0x1234',
    'PreUp = echo = # not run',
    'PostUp = iptables -A FORWARD',
    'PostUp = second',
    'PreDown = true',
    'PostDown =',
    'SaveConfig = true',
    '',
    '[Peer]',
    `PublicKey = ${PEER_A}`,
    `PresharedKey = ${PSK}`,
    'AllowedIPs = 10.0.0.77/24, ::/0',
    'AllowedIPs = 10.9.0.0/16',
    'Endpoint = [2001:DB8::1]:51820',
    'PersistentKeepalive = 25',
    '[Peer]',
    `PublicKey = ${PEER_B}`,
    'Endpoint = vpn.example.com:1',
  ].join('\n');
  const notRun = 'commands are not run';
  const expected: WgConfig = {
    privateKey: PRIVATE,
    addresses: ['10.0.0.2/24', 'fd00::2/64', '192.0.2.7/32'],
    dns: ['10.0.0.1', '2001:db8::53'],
    dnsSearch: ['corp.example'],
    listenPort: 51820,
    mtu: 1400,
    peers: [
      {
        publicKey: PEER_A,
        persistentKeepaliveMs: 25_000,
        presharedKey: PSK,
        endpoint: '[2001:db8::1]:51820',
        allowedIPs: ['10.0.0.0/24', '::/0', '10.9.0.0/16'],
      },
      { publicKey: PEER_B, persistentKeepaliveMs: 0, endpoint: 'vpn.example.com:1', allowedIPs: [] },
    ],
    ignored: [
      { line: 9, key: 'Table', why: 'needs root: the routes of the system stay as they are' },
      { line: 10, key: 'FwMark', why: 'needs root: packets are not marked' },
      { line: 11, key: 'PreUp', why: notRun },
      { line: 12, key: 'PostUp', why: notRun },
      { line: 13, key: 'PostUp', why: notRun },
      { line: 14, key: 'PreDown', why: notRun },
      { line: 15, key: 'PostDown', why: notRun },
      { line: 16, key: 'SaveConfig', why: 'the file is never written' },
    ],
  };
  assert.equal(parseWgConfig(text), expected);
});

test('line ends, a byte order mark, blanks and letter case do not matter', () => {
  const plain = parseWgConfig(HEAD + PEER);
  const variants = [
    (HEAD + PEER).replaceAll('\n', '\r\n'),
    (HEAD + PEER).replaceAll('\n', '\r'),
    `\ufeff${HEAD}${PEER}`,
    (HEAD + PEER).replaceAll(' = ', '='),
    (HEAD + PEER).replaceAll(' = ', '\t=\t').replaceAll('\n', '  \n\n'),
    HEAD.replace('[Interface]', ' [ INTERFACE ] ').replace('PrivateKey', 'privatekey') + PEER.replace('Peer', 'peer'),
    (HEAD + PEER).replace('AllowedIPs = 10.0.0.0/24', 'Allowed IPs = 10.0.0.0 / 24'),
    PEER + HEAD,
  ];
  for (const text of variants) assert.equal(parseWgConfig(text), plain);
});

test('keepalive is off, zero or seconds, and an all-zero preshared key means none', () => {
  const keepalive = (value: string) =>
    parseWgConfig(`${HEAD}${PEER}PersistentKeepalive = ${value}`).peers[0]!.persistentKeepaliveMs;
  assert.is(keepalive('off'), 0);
  assert.is(keepalive('OFF'), 0);
  assert.is(keepalive('0'), 0);
  assert.is(keepalive('65535'), 65_535_000);
  assert.is(parseWgConfig(`${HEAD}${PEER}PresharedKey = ${ZERO}`).peers[0]!.presharedKey, undefined);
});

test('endpoints may be IPv4, bracketed IPv6 with a zone, or names', () => {
  const endpoint = (value: string) => parseWgConfig(`${HEAD}${PEER}Endpoint = ${value}`).peers[0]!.endpoint;
  assert.is(endpoint('203.0.113.5:1'), '203.0.113.5:1');
  assert.is(endpoint('[FE80::1%eth0]:65535'), '[fe80::1%eth0]:65535');
  assert.is(endpoint('my_host-1.example.org.:51820'), 'my_host-1.example.org.:51820');
  assert.is(endpoint('localhost:51820'), 'localhost:51820');
  assert.is(endpoint('3com.example:51820'), '3com.example:51820');
});

test('a prefix of two peers goes to the later one, and the earlier line is named', () => {
  const config = parseWgConfig(
    `${HEAD}${PEER}AllowedIPs = 10.3.0.0/16\n[Peer]\nPublicKey = ${PEER_B}\nAllowedIPs = 10.0.0.9/24`,
  );
  assert.equal(
    config.peers.map(peer => peer.allowedIPs),
    [['10.3.0.0/16'], ['10.0.0.0/24']],
  );
  assert.equal(config.ignored, [
    { line: 6, key: 'AllowedIPs', why: '10.0.0.0/24 also stands on line 10: the later peer gets it' },
  ]);
});

test('the same prefix twice in one peer counts once', () => {
  const config = parseWgConfig(`${HEAD}${PEER}AllowedIPs = 10.0.0.0/24, 10.0.0.1/24`);
  assert.equal(config.peers[0]!.allowedIPs, ['10.0.0.0/24']);
  assert.equal(config.ignored, []);
});

const key = (name: string, value: string, line = 4) => [`${HEAD}${name} = ${value}`, line] as const;
const peerKey = (name: string, value: string) => [`${HEAD}${PEER}${name} = ${value}`, 7] as const;
const ENDPOINT = 'expected an address or name with a port, such as 203.0.113.5:51820 or [2001:db8::1]:51820';
const ADDRESS = 'Address expected an address such as 10.0.0.2/24 or fd00::2/64';
const ALLOWED = 'AllowedIPs expected a prefix such as 10.0.0.0/24 or fd00::/64';
const INTERFACE_KEYS =
  'PrivateKey, Address, ListenPort, MTU, DNS, FwMark, Table, PreUp, PostUp, PreDown, PostDown, SaveConfig';

/** [[text, line], detail]: what a user sees for each mistake. */
const GOLDEN: readonly (readonly [readonly [string, number], string])[] = [
  [['', 0], 'no [Interface] section: expected a wg-quick configuration file'],
  [[PEER, 0], 'no [Interface] section: expected a wg-quick configuration file'],
  [['Address = 10.0.0.1', 1], 'expected [Interface] or [Peer] before the first key, got "Address"'],
  [[`[Interface]\n${PEER}`, 1], '[Interface] has no PrivateKey: `motenet genkey` makes one'],
  [
    [`\n[Interface]\nPrivateKey = ${PRIVATE}`, 2],
    '[Interface] has no Address: add the address inside the tunnel, such as Address = 10.0.0.2/24',
  ],
  [[`${HEAD}[Peer]\nAllowedIPs = ::/0`, 4], '[Peer] has no PublicKey: `motenet pubkey` makes it from the private key'],
  [[`${HEAD}[Interface]`, 4], 'a second [Interface], the first is on line 1: a file describes one interface'],
  [[`${HEAD}[Pear]`, 4], 'expected the section [Interface] or [Peer], got "[Pear]"'],
  [[`${HEAD}[Peer`, 4], 'expected the section [Interface] or [Peer], got "[Peer"'],
  [[`${HEAD}hello`, 4], 'expected "Key = value", a [section] or a comment after #, got "hello"'],
  [[`${HEAD}; note`, 4], 'expected "Key = value", a [section] or a comment after #, got "; note"'],
  [key('ListnPort', '1'), 'unknown key "ListnPort" under [Interface]: did you mean ListenPort?'],
  [key('Adress', '1'), 'unknown key "Adress" under [Interface]: did you mean Address?'],
  [peerKey('AllowedIP', '1'), 'unknown key "AllowedIP" under [Peer]: did you mean AllowedIPs?'],
  [peerKey('PersistentKeepAlive ', '1x'), 'PersistentKeepalive expected off or 0 to 65535 seconds, got "1x"'],
  [key('Jc', '4'), `unknown key "Jc" under [Interface]: known are ${INTERFACE_KEYS}`],
  [key('Endpoint', '1.2.3.4:5'), 'Endpoint belongs under [Peer], not under [Interface]'],
  [peerKey('listenport', '5'), 'ListenPort belongs under [Interface], not under [Peer]'],
  [key('PrivateKey', PRIVATE), 'PrivateKey is given twice, first on line 2: keep one'],
  [[`${HEAD}MTU = 1400\nMTU = 1400`, 5], 'MTU is given twice, first on line 4: keep one'],
  [[`${HEAD}Table = off\nTable = off`, 5], 'Table is given twice, first on line 4: keep one'],
  [peerKey('PublicKey', PEER_B), 'PublicKey is given twice, first on line 5: keep one'],
  [[`${HEAD}${PEER}${PEER}`, 8], 'the peer with this PublicKey is already on line 5: keep one'],
  [['[Interface]\nPrivateKey = abc', 2], 'PrivateKey expected 44 characters of base64 (32 bytes), got 3 characters'],
  [['[Interface]\nPrivateKey =', 2], 'PrivateKey expected a value, got nothing'],
  [
    [`[Interface]\nPrivateKey = ${PRIVATE.replace('+', '-')}`, 2],
    'PrivateKey expected base64 of 32 bytes, got 44 characters that are not (a copying mistake?)',
  ],
  [
    [`[Interface]\nPrivateKey = ${PRIVATE.replace('mk=', 'ml=')}`, 2],
    'PrivateKey expected base64 of 32 bytes, got 44 characters that are not (a copying mistake?)',
  ],
  [
    [`[Interface]\nPrivateKey = ${PRIVATE.replace('k=', '==')}`, 2],
    'PrivateKey expected base64 of 32 bytes, got 44 characters that are not (a copying mistake?)',
  ],
  [[`[Interface]\nPrivateKey = ${ZERO}`, 2], 'PrivateKey expected a key, got 32 zero bytes'],
  [[`${HEAD}[Peer]\nPublicKey = ${ZERO}`, 5], 'PublicKey expected a key, got 32 zero bytes'],
  [
    peerKey('PresharedKey', PSK.slice(1)),
    'PresharedKey expected 44 characters of base64 (32 bytes), got 43 characters',
  ],
  [key('Address', '10.0.0.300/24'), `${ADDRESS}, got "10.0.0.300/24"`],
  [key('Address', '10.0.0.1/33'), `${ADDRESS}, got "10.0.0.1/33"`],
  [key('Address', 'fd00::1/129'), `${ADDRESS}, got "fd00::1/129"`],
  [key('Address', '10.1/24'), `${ADDRESS}, got "10.1/24"`],
  [key('Address', '010.0.0.1/24'), `${ADDRESS}, got "010.0.0.1/24"`],
  [key('Address', 'fe80::1%eth0/64'), `${ADDRESS}, got "fe80::1%eth0/64"`],
  [key('Address', '10.0.0.1/24,'), 'Address expected a value between commas, got nothing'],
  [key('ListenPort', '0'), 'ListenPort expected 1 to 65535, got "0" (leave the line out and the system chooses)'],
  [key('ListenPort', '70000'), 'ListenPort expected 1 to 65535, got "70000"'],
  [key('ListenPort', '-1'), 'ListenPort expected 1 to 65535, got "-1"'],
  [key('ListenPort', '5e3'), 'ListenPort expected 1 to 65535, got "5e3"'],
  [key('MTU', '575'), 'MTU expected 576 to 65535 bytes, got "575"'],
  [key('MTU', '65536'), 'MTU expected 576 to 65535 bytes, got "65536"'],
  [key('MTU', 'auto'), 'MTU expected 576 to 65535 bytes, got "auto"'],
  [[`${HEAD}MTU = 1279\nAddress = fd00::2/64`, 4], 'MTU expected at least 1280 because of the IPv6 Address, got 1279'],
  [key('DNS', '10.0.0.1.1'), 'DNS expected an address such as 10.0.0.1 or a search domain, got "10.0.0.1.1"'],
  [key('DNS', '10.0.0.1,,'), 'DNS expected a value between commas, got nothing'],
  [peerKey('AllowedIPs', '10.0.0.0/33'), `${ALLOWED}, got "10.0.0.0/33"`],
  [peerKey('AllowedIPs', '10.0.0.0-10.0.0.9'), `${ALLOWED}, got "10.0.0.0-10.0.0.9"`],
  [peerKey('AllowedIPs', ''), 'AllowedIPs expected a value, got nothing'],
  [peerKey('Endpoint', '203.0.113.5'), `Endpoint has no port: ${ENDPOINT}, got "203.0.113.5"`],
  [peerKey('Endpoint', 'vpn.example'), `Endpoint has no port: ${ENDPOINT}, got "vpn.example"`],
  [peerKey('Endpoint', '[2001:db8::1]'), `Endpoint has no port: ${ENDPOINT}, got "[2001:db8::1]"`],
  [peerKey('Endpoint', '2001:db8::1'), `Endpoint has no port: ${ENDPOINT}, got "2001:db8::1"`],
  [peerKey('Endpoint', '203.0.113.5:0'), 'Endpoint expected a port of 1 to 65535, got "0"'],
  [peerKey('Endpoint', '203.0.113.5:70000'), 'Endpoint expected a port of 1 to 65535, got "70000"'],
  [peerKey('Endpoint', '203.0.113.5:http'), 'Endpoint expected a port of 1 to 65535, got "http"'],
  [peerKey('Endpoint', '300.0.113.5:51820'), `Endpoint ${ENDPOINT}, got "300.0.113.5:51820"`],
  [peerKey('Endpoint', ':51820'), `Endpoint ${ENDPOINT}, got ":51820"`],
  [peerKey('Endpoint', 'http://vpn.example:51820'), `Endpoint ${ENDPOINT}, got "http://vpn.example:51820"`],
  [peerKey('Endpoint', '[203.0.113.5]:51820'), `Endpoint ${ENDPOINT}, got "[203.0.113.5]:51820"`],
  [peerKey('Endpoint', '2001:db8::1:51820'), `Endpoint ${ENDPOINT}, got "2001:db8::1:51820"`],
  [peerKey('PersistentKeepalive', '65536'), 'PersistentKeepalive expected off or 0 to 65535 seconds, got "65536"'],
];

test('every mistake gives its own line of text with the line number', () => {
  for (const [[text, line], detail] of GOLDEN) {
    const error = failure(text);
    assert.is(error.detail, detail);
    assert.is(error.line, line, detail);
    assert.is(error.message, line === 0 ? detail : `line ${line}: ${detail}`);
    assert.is(error.name, 'WgConfigError');
  }
});

test('the first mistake of several is the one that is told', () => {
  assert.is(failure(`${HEAD}MTU = 1\nListenPort = 0`).line, 4);
});

test('a text above the limit is refused before it is read', () => {
  const error = failure('#'.repeat(WG_CONFIG_LIMIT + 1));
  assert.is(error.detail, `expected at most ${WG_CONFIG_LIMIT} characters, got ${WG_CONFIG_LIMIT + 1}`);
});

test('key material never shows in an error, wherever in the file it was put by mistake', () => {
  const secret = PRIVATE.slice(0, -1);
  const texts = [
    PRIVATE,
    `${HEAD}${PRIVATE}`,
    `${HEAD}[${PRIVATE}]`,
    `${HEAD}PrivatKey = ${PRIVATE}`,
    `${HEAD}PrivateKey ${PRIVATE}`,
    `${HEAD}${secret} = 1`,
    `[Interface]\nPrivateKey = ${PRIVATE}${PRIVATE}`,
    `[Interface]\nPrivateKey = "${PRIVATE}"`,
    `[Interface]\nPrivateKey = ${secret}`,
    ...['Address', 'ListenPort', 'MTU', 'DNS'].map(name => `${HEAD}${name} = ${PRIVATE}`),
    ...['Address', 'ListenPort', 'MTU', 'DNS'].map(name => `${HEAD}${name} = 1 ${secret.slice(0, 30)} ${secret}`),
    ...['AllowedIPs', 'Endpoint', 'PersistentKeepalive', 'PresharedKey'].map(
      name => `${HEAD}${PEER}${name} = x${PRIVATE}:1`,
    ),
    `${HEAD}${PEER}Endpoint = 1.2.3.4:${PRIVATE}`,
  ];
  for (const text of texts) {
    const { message } = failure(text);
    for (let i = 0; i + 8 <= secret.length; i++) {
      const piece = secret.slice(i, i + 8);
      assert.not(message.includes(piece), `${message} shows ${piece}`);
    }
  }
});

test('what came is shown as short printable text', () => {
  assert.ok(failure(`${HEAD}MTU = \u001b[2J\u0007\u202e5`).message.endsWith('got "?[2J??5"'));
  assert.ok(failure(`${HEAD}MTU = ${'9.'.repeat(500)}`).message.length < 120);
  assert.ok(failure(`${HEAD}${'-k'.repeat(5000)} = 1`).message.length < 250);
});

test('ten thousand peers parse in linear time', () => {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
  const lines = [HEAD];
  for (let i = 0; i < 10_000; i++) {
    const id = [18, 12, 6, 0].map(shift => alphabet[(i >> shift) & 63]).join('');
    lines.push(`[Peer]\nPublicKey = ${id}${'B'.repeat(38)}A=\nAllowedIPs = 10.${i >> 8}.${i & 255}.0/24\n`);
  }
  assert.is(parseWgConfig(lines.join('')).peers.length, 10_000);
  const prefixes = Array.from({ length: 60_000 }, (_, i) => `10.${i >> 8}.${i & 255}.0/24`).join(',');
  const config = parseWgConfig(
    `${HEAD}[Peer]\nPublicKey=${PEER_A}\nAllowedIPs=${prefixes}\n[Peer]\nPublicKey=${PEER_B}\nAllowedIPs=${prefixes}`,
  );
  assert.equal(
    config.peers.map(peer => peer.allowedIPs.length),
    [0, 60_000],
  );
});

test('a near word is offered and a far one is not', () => {
  assert.is(nearestWord('genkye', ['genkey', 'pubkey']), 'genkey');
  assert.is(nearestWord('xyz', ['genkey', 'pubkey']), undefined);
  assert.is(nearestWord('g'.repeat(10_000), ['genkey']), undefined);
});

/** A seeded stream of numbers below `n`. */
function seeded(seed: number): (n: number) => number {
  let state = seed >>> 0;
  return n => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 0x1_0000_0000) * n);
  };
}

const PIECES = [
  ...['[Interface]', '[Peer]', 'PrivateKey', 'PublicKey', 'PresharedKey', 'Address', 'AllowedIPs', 'Endpoint', 'DNS'],
  ...['MTU', 'ListenPort', 'PersistentKeepalive', 'PostUp', 'Table', PRIVATE, PEER_A, PEER_B, PSK, ZERO, 'off', '0'],
  ...['10.0.0.1/24', 'fd00::1/64', '::', '%', '[', ']', ':', ',', '=', ' = ', '\n', '\n', '\r\n', '\r', '#', '\ufeff'],
  ...['1420', '65535', '70000', '1.2.3.4:5', '[::1]:9', 'a.example:1', '\u0000', '\ud800', '😀', ' ', '\t', '-'],
];

test('any text either parses or gives a one-line error of the parser', () => {
  const next = seeded(20260801);
  let parsed = 0;
  for (let round = 0; round < 6000; round++) {
    let text = round % 3 === 0 ? '' : HEAD + PEER;
    const count = next(40);
    for (let i = 0; i < count; i++) {
      const piece = next(8) === 0 ? String.fromCharCode(next(0x10000)) : PIECES[next(PIECES.length)]!;
      const at = round % 3 === 0 ? text.length : next(text.length + 1);
      text = text.slice(0, at) + piece + text.slice(round % 3 === 2 ? at + next(4) : at);
    }
    try {
      const config = parseWgConfig(text);
      parsed++;
      assert.ok(config.addresses.length > 0 && config.privateKey.length === 44);
    } catch (error) {
      if (!(error instanceof WgConfigError)) throw error;
      assert.ok(/^[\x20-\x7e…]+$/.test(error.message), `not one printable line: ${error.message}`);
      assert.ok(error.message.length < 400);
    }
  }
  assert.ok(parsed > 50, `only ${parsed} texts parsed`);
});

test.run();
