/**
 * Traffic between two programs of peer-program.ts, whatever is behind them.
 */
import { expect, expectPattern } from './case.ts';
import { type Json, type Remote, RemoteError } from './json-lines.ts';
import { sleep } from './lab.ts';
import { patternHash } from './pattern.ts';

/** Every node serves HTTP here, and sends datagrams back there. */
export const HTTP_PORT = 8000;
export const ECHO_PORT = 7000;

/** Has a node serve HTTP and echo datagrams. */
export async function offerServices(side: Remote): Promise<void> {
  await side.call('serve', { port: HTTP_PORT });
  await side.call('udpEcho', { port: ECHO_PORT });
}

/** Fetches `bytes` of a pattern from the HTTP server of another node and checks them. */
export async function fetchPattern(from: Remote, host: string, bytes: number, seed = bytes): Promise<void> {
  const url = `http://${host}:${HTTP_PORT}/data?bytes=${bytes}&seed=${seed}`;
  const got = await from.call('fetch', { url }, 30_000);
  expect(got.status === 200, `${url}: status ${got.status}`);
  expectPattern(url, got, seed, bytes);
}

/** The same, tried again until it works or the time is over: for a path that is just coming back. */
export async function fetchSoon(from: Remote, host: string, bytes: number, timeoutMs = 30_000): Promise<number> {
  const startMs = performance.now();
  for (;;) {
    try {
      await fetchPattern(from, host, bytes);
      return performance.now() - startMs;
    } catch (error) {
      if (!(error instanceof RemoteError) || performance.now() - startMs > timeoutMs) throw error;
      await sleep(300);
    }
  }
}

/** Expects a fetch to fail; returns with what words. */
export async function expectUnreachable(from: Remote, host: string, timeoutMs = 6000): Promise<string> {
  const url = `http://${host}:${HTTP_PORT}/`;
  let got: Json;
  try {
    got = await from.call('fetch', { url }, timeoutMs);
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error(`${url} answered with ${got.status}, although it must not be reachable`);
}

/** Sends a datagram to an echo and expects it back; three tries, as datagrams may be lost. */
export async function udpRoundTrip(from: Remote, host: string, bytes: number, seed = bytes): Promise<void> {
  const { socket } = await from.call('udp', { port: 0 });
  let last: unknown;
  for (let i = 0; i < 3; i++) {
    await from.call('udpSend', { socket, host, port: ECHO_PORT, bytes, seed });
    try {
      const got = await from.call('udpReceive', { socket }, 3000);
      expect(got.bytes === bytes && got.sha256 === patternHash(seed, bytes), `${bytes} bytes by UDP came back changed`);
      return;
    } catch (error) {
      last = error;
    }
  }
  throw new Error(`no UDP echo from ${host}:${ECHO_PORT}: ${String(last)}`);
}
