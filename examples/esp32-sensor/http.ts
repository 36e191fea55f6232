/**
 * HTTP/1.1 in small (RFC 9112), over any ECMA-419 TCP: a server of short answers, and one request. One message per
 * connection, bodies with a length. Left out: chunks, pipelining, TLS.
 */
import { ascii, type Io, type Tcp, type Timers, text } from './standard.ts';

const MAX_HEAD_CHARACTERS = 2048;
const MAX_ANSWER_CHARACTERS = 1024;
const MAX_CONNECTIONS = 4;
const TIMEOUT_MS = 10_000;

/** What a handler answers. */
export interface Answer {
  readonly status: number;
  readonly type: string;
  /** ASCII. */
  readonly body: string;
}

/** Serves GET on a port until the returned function is called. More than four connections at once are closed. */
export function serveHttp(io: Io, timers: Timers, port: number, handle: (path: string) => Answer): () => void {
  const open = new Set<Tcp>();
  const listener = new io.Listener({
    port,
    onReadable: count => {
      while (count-- > 0) {
        const from = listener.read();
        if (from !== undefined) serveOne(io, timers, from, handle, open);
      }
    },
  });
  return () => {
    listener.close();
    for (const tcp of open) tcp.close();
    open.clear();
  };
}

function serveOne(io: Io, timers: Timers, from: unknown, handle: (path: string) => Answer, open: Set<Tcp>): void {
  let head = '';
  let rest: Uint8Array | undefined;
  let room = 0;
  const tcp = new io.TCP({
    from,
    onReadable: () => {
      head += text(tcp.read() as ArrayBuffer);
      if (rest !== undefined) return; // more than a request: not looked at
      if (head.includes('\r\n\r\n')) rest = ascii(answerTo(head, handle));
      else if (head.length > MAX_HEAD_CHARACTERS) return end();
      send();
    },
    onWritable: bytes => {
      room = bytes;
      send();
    },
    onError: () => end(),
  });
  const timer = timers.set(() => end(), TIMEOUT_MS);
  const end = () => {
    timers.clear(timer);
    open.delete(tcp);
    tcp.close();
  };
  const send = () => {
    if (rest === undefined || room === 0) return;
    const now = rest.subarray(0, room);
    rest = rest.subarray(now.length);
    room = tcp.write(now);
    if (rest.length === 0) end();
  };
  open.add(tcp);
  if (open.size > MAX_CONNECTIONS) end();
}

function answerTo(head: string, handle: (path: string) => Answer): string {
  const [method, path = '/'] = head.slice(0, head.indexOf('\r\n')).split(' ');
  const refused = { status: 405, type: 'text/plain', body: 'only GET\n' };
  const { status, type, body } = method === 'GET' ? handle(path) : refused;
  return `HTTP/1.1 ${status} ${status < 300 ? 'OK' : 'Error'}\r\ncontent-type: ${type}\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`;
}

/** One POST of an ASCII body; resolves with the status, rejects with Error after ten seconds or when it broke. */
export function postHttp(
  io: Io,
  timers: Timers,
  host: string,
  port: number,
  path: string,
  body: string,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const resolver = new io.Resolver({});
    let tcp: Tcp | undefined;
    let answer = '';
    const end = (outcome: () => void) => {
      timers.clear(timer);
      resolver.close();
      tcp?.close();
      tcp = undefined;
      outcome();
    };
    const fail = (why: string) => end(() => reject(new Error(`${host} port ${port} ${why}`)));
    const timer = timers.set(() => fail('did not answer in time'), TIMEOUT_MS);
    const request = ascii(
      `POST ${path} HTTP/1.1\r\nhost: ${host}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
    );
    let isSent = false;
    const connect = (address: string) => {
      tcp = new io.TCP({
        address,
        port,
        onWritable: () => {
          if (!isSent) tcp?.write(request);
          isSent = true;
        },
        onReadable: () => {
          answer += text(tcp!.read() as ArrayBuffer);
          const status = /^HTTP\/1\.[01] ([0-9]{3})/.exec(answer)?.[1];
          if (answer.includes('\r\n\r\n') && status !== undefined) end(() => resolve(Number(status)));
          else if (answer.length > MAX_ANSWER_CHARACTERS) fail('does not speak HTTP');
        },
        onError: () => fail('refused or broke the connection'),
      });
    };
    resolver.resolve({ host, onResolved: (_name, address) => connect(address), onError: () => fail('has no address') });
  });
}
