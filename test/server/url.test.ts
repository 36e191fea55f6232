/** URLs of a server: what is read, what is refused, what is warned of; and what is published of the own relay. */
import { X509Certificate } from 'node:crypto';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { memoryStore } from '../../targets/node/store.ts';
import { ownDerpMap } from '../../targets/server/derp-map.ts';
import { certificateDigest, loadCertificate, loadKey } from '../../targets/server/keys.ts';
import { escapeHtml } from '../../targets/server/pages.ts';
import { isPrivateHost, parseServerUrl, urlOfListener, urlWarnings } from '../../targets/server/url.ts';
import { random } from './support.ts';

const test = suite('server url');

test('a URL is a scheme, a host and maybe a port', () => {
  for (const [text, expected] of [
    ['https://control.example', ['https://control.example', true, 'control.example', 443]],
    ['https://control.example:8443/', ['https://control.example:8443', true, 'control.example', 8443]],
    ['http://10.0.0.5:8080', ['http://10.0.0.5:8080', false, '10.0.0.5', 8080]],
    ['http://[fd00::5]', ['http://[fd00::5]', false, 'fd00::5', 80]],
  ] as const) {
    const { text: canonical, isTls, host, port } = parseServerUrl(text);
    assert.equal([canonical, isTls, host, port], expected);
  }
  for (const text of ['control.example', 'ftp://a', 'https://a/b', 'https://a?b', 'https://u:p@a', 'https://a#b', ''])
    assert.throws(() => parseServerUrl(text), RangeError, text);
});

test('a listener’s URL names an address', () => {
  assert.is(urlOfListener('127.0.0.1', 80, false).text, 'http://127.0.0.1');
  assert.is(urlOfListener('fd00::1', 8080, true).text, 'https://[fd00::1]:8080');
  assert.match(urlOfListener('0.0.0.0', 8080, false).text, /^http:\/\/\d+\.\d+\.\d+\.\d+:8080$/);
});

test('private is what clients take for private', () => {
  for (const host of [
    'localhost',
    '127.0.0.1',
    '10.1.2.3',
    '172.16.0.1',
    '172.31.9.9',
    '192.168.1.1',
    '::1',
    'fd12::1',
  ])
    assert.ok(isPrivateHost(host), host);
  for (const host of [
    'control.lan',
    '172.32.0.1',
    '100.64.0.1',
    '169.254.1.1',
    '192.0.2.1',
    'fe80::1',
    '2001:db8::1',
    '::',
  ])
    assert.not.ok(isPrivateHost(host), host);
});

test('a name or public address without TLS is warned of, with the way out', () => {
  for (const url of ['http://control.example:8080', 'http://192.0.2.1']) {
    const [warning] = urlWarnings(parseServerUrl(url), false);
    assert.match(warning!, 'Serve https');
    assert.match(warning!, ':443');
  }
  for (const url of ['http://10.0.0.5:8080', 'http://localhost:8080', 'http://[fd00::1]:80'])
    assert.equal(urlWarnings(parseServerUrl(url), false), []);
  assert.match(urlWarnings(parseServerUrl('https://control.example'), false)[0]!, 'a proxy in front');
  assert.equal(urlWarnings(parseServerUrl('https://control.example'), true), []);
});

test('the map of relays names one node, by address or by name', () => {
  const nodeOf = (host: string, digest?: string) =>
    ownDerpMap({ host, port: 8443, digest, stunPort: undefined }).Regions!['900']!.Nodes[0]!;
  assert.equal(nodeOf('10.0.0.5', 'ab'), {
    Name: '900a',
    RegionID: 900,
    HostName: '10.0.0.5',
    CertName: 'sha256-raw:ab',
    IPv4: '10.0.0.5',
    IPv6: 'none',
    STUNPort: -1,
    DERPPort: 8443,
  });
  const { IPv4, IPv6, CertName } = nodeOf('control.example');
  assert.equal([IPv4, IPv6, CertName], [undefined, undefined, undefined]);
  assert.equal([nodeOf('fd00::1').IPv4, nodeOf('fd00::1').IPv6], ['none', 'fd00::1']);
  assert.is(nodeOf('localhost').IPv4, '127.0.0.1');
});

test('keys are made once, and a damaged one is not replaced', () => {
  const store = memoryStore();
  const key = loadKey(store, 'a', random);
  assert.equal(loadKey(store, 'a', random).bytes, key.bytes);
  store.save('a', new Uint8Array(31));
  assert.throws(() => loadKey(store, 'a', random), /damaged/);
});

test('the relay’s certificate is for its host, stays, and is made anew in time', async () => {
  const store = memoryStore();
  const nowMs = Date.UTC(2026, 0, 1);
  const first = await loadCertificate(store, '192.0.2.7', nowMs);
  const read = new X509Certificate(first.cert);
  assert.is(read.checkIP('192.0.2.7'), '192.0.2.7');
  assert.is(read.verify(read.publicKey), true);
  assert.ok(Date.parse(read.validFrom) < nowMs - 86_400_000, 'for clocks that are behind');
  assert.match(certificateDigest(first.cert), /^[0-9a-f]{64}$/);
  assert.is(certificateDigest(first.cert), read.fingerprint256.replaceAll(':', '').toLowerCase());
  assert.is((await loadCertificate(store, '192.0.2.7', nowMs)).cert, first.cert);
  const named = await loadCertificate(store, 'relay.example', nowMs);
  assert.is(new X509Certificate(named.cert).checkHost('relay.example'), 'relay.example');
  const late = Date.parse(new X509Certificate(named.cert).validTo) - 29 * 86_400_000;
  assert.is.not((await loadCertificate(store, 'relay.example', late)).cert, named.cert);
});

test('escaped text is text', () => {
  assert.is(escapeHtml(`<a href="x" b='y'>&`), '&lt;a href=&quot;x&quot; b=&#39;y&#39;&gt;&amp;');
});

test.run();
