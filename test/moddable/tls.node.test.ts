/** The TLS watcher on the bytes of real handshakes: Node's TLS at both ends, TLS 1.2 as Moddable speaks it. */
import { constants, createHash, X509Certificate } from 'node:crypto';
import { connect as connectTcp } from 'node:net';
import { Duplex } from 'node:stream';
import { type ConnectionOptions, connect } from 'node:tls';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { subjectPublicKeyInfo } from '../../targets/moddable/certificate.ts';
import { type Pins, TlsWatch } from '../../targets/moddable/tls-watch.ts';
import { host } from '../../targets/node/host.ts';
import { AUTHORITY, CERTIFICATES, RealWorld } from '../contract/streams-far.ts';

const test = suite('TLS watcher on real handshakes');
const world = new RealWorld(host);
const sha256 = (bytes: Uint8Array) => new Uint8Array(createHash('sha256').update(bytes).digest());
const der = (pem: string) => new Uint8Array(new X509Certificate(pem).raw);
const ECDHE = 'ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-SHA256';

/** What a watcher thinks of a handshake that Node conducts over it. */
async function watched(port: number, pins: Pins, options: ConnectionOptions = {}): Promise<TlsWatch> {
  const watch = new TlsWatch(pins, sha256);
  const tcp = connectTcp({ host: '127.0.0.1', port });
  const passage = new Duplex({
    read: () => undefined,
    write: (chunk: Uint8Array, _encoding, done) => {
      // Node sends several records at once; the watcher is told of each.
      for (let at = 0; at < chunk.length; at += 5 + (chunk[at + 3]! << 8) + chunk[at + 4]!)
        watch.sent(chunk.subarray(at));
      tcp.write(chunk, () => done());
    },
  });
  tcp.on('data', chunk => {
    for (let at = 0; at < chunk.length; at += 97) watch.received(new Uint8Array(chunk.subarray(at, at + 97)));
    passage.push(chunk);
  });
  tcp.on('end', () => passage.push(null));
  await new Promise<void>((resolve, reject) => {
    const secureOptions = constants.SSL_OP_NO_TICKET; // Moddable asks for none
    const common = {
      socket: passage,
      servername: 'web.test',
      rejectUnauthorized: false,
      maxVersion: 'TLSv1.2',
    } as const;
    const tls = connect({ ...common, secureOptions, ciphers: ECDHE, ...options }, () => {
      tls.destroy();
      resolve();
    });
    tls.on('error', reject);
  });
  tcp.destroy();
  return watch;
}

test.after(() => world.clean());

test('the pinned certificate, and the pinned public key, settle; with or without a chain', async () => {
  for (const pem of Object.values(CERTIFICATES))
    for (const chain of ['', AUTHORITY]) {
      const { port } = await world.listenTls(pem + chain);
      const key = new X509Certificate(pem).publicKey.export({ type: 'spki', format: 'der' });
      for (const pins of [{ certificate: sha256(der(pem)) }, { publicKeys: [sha256(key)] }]) {
        const watch = await watched(port, pins);
        assert.is(watch.problem, undefined);
        assert.ok(watch.isSettled);
      }
    }
});

test('another certificate, or the authority’s, is refused', async () => {
  const { port } = await world.listenTls(CERTIFICATES.signed + AUTHORITY);
  for (const pem of [CERTIFICATES.own, AUTHORITY])
    assert.match((await watched(port, { certificate: sha256(der(pem)) })).problem!, /pinned/);
});

test('TLS 1.3 is refused: its handshake says other things', async () => {
  const { port } = await world.listenTls(CERTIFICATES.own);
  const watch = await watched(
    port,
    { certificate: sha256(der(CERTIFICATES.own)) },
    { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3', ciphers: 'TLS_AES_128_GCM_SHA256' },
  );
  assert.ok(watch.problem !== undefined);
  assert.not(watch.isSettled);
});

test('the public key is where openssl finds it', () => {
  for (const pem of [...Object.values(CERTIFICATES), AUTHORITY]) {
    const key = new X509Certificate(pem).publicKey.export({ type: 'spki', format: 'der' });
    assert.equal(subjectPublicKeyInfo(der(pem)), new Uint8Array(key));
  }
});

test.run();
