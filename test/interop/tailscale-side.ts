/**
 * The peer program (see peer-program.ts) beside a stock `tailscaled --tun=userspace-networking`: what it listens on is the
 * loopback, to which tailscaled hands what comes in; what it opens goes through tailscaled's SOCKS5 proxy.
 *
 * `open` takes `socksPort`. A UDP socket with a port of its own is the kernel's (for what comes in), one without goes
 * through the proxy.
 */
import { request } from 'node:http';
import { Readable } from 'node:stream';
import { kernelFace } from './kernel-face.ts';
import { type Face, runPeerProgram } from './peer-program.ts';
import { type SocksServer, socksDial, socksUdp } from './socks-client.ts';

async function socksFetch(proxy: SocksServer, url: string, init: RequestInit = {}): Promise<Response> {
  const { hostname, port, host, pathname, search } = new URL(url);
  const flow = await socksDial(proxy, hostname.replace(/^\[|\]$/g, ''), Number(port || 80), 15_000);
  return new Promise((resolve, reject) => {
    const asked = request(
      { createConnection: () => flow.socket, method: init.method ?? 'GET', path: pathname + search, headers: { host } },
      answer => {
        const body = Readable.toWeb(answer) as unknown as ReadableStream<Uint8Array>;
        resolve(new Response(body, { status: answer.statusCode ?? 0 }));
      },
    );
    asked.once('error', reject);
    if (init.body instanceof ReadableStream)
      Readable.fromWeb(init.body as Parameters<typeof Readable.fromWeb>[0]).pipe(asked);
    else asked.end(init.body ?? undefined);
  });
}

runPeerProgram(async ({ socksPort }) => {
  const proxy = { host: '127.0.0.1', port: socksPort as number };
  const face: Face = {
    ...kernelFace,
    dial: (host, port, timeoutMs) => socksDial(proxy, host, port, timeoutMs),
    udp: port => (port === 0 ? socksUdp(proxy) : kernelFace.udp(port)),
    fetch: (url, init) => socksFetch(proxy, url, init),
    ping: () => Promise.reject(new Error('ping with `tailscale ping`')),
  };
  return { face, info: {} };
});
