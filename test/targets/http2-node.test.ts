/** The HTTP/2 client against the server of `node:http2`, over a pair of streams in memory. */
import { createHash } from 'node:crypto';
import http2 from 'node:http2';
import { Duplex } from 'node:stream';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { utf8Decode, utf8Encode } from '../../lib/base/bytes.ts';
import { Http2Client } from '../../lib/http2/client.ts';
import type { Http2Event, Http2Request } from '../../lib/http2/client-types.ts';
import { headerOf } from '../../lib/http2/fields.ts';
import { HTTP2_LIMITS_LARGE, HTTP2_LIMITS_SMALL, type Http2Limits } from '../../lib/http2/limits.ts';

const test = suite('http2 client with node:http2');

type Listener = (request: http2.Http2ServerRequest, response: http2.Http2ServerResponse) => void;

/** Carries the client's bytes to a server and back, in pieces of at most `pieceBytes`, and gathers what it says. */
class Link {
  readonly client: Http2Client;
  readonly server: http2.Http2Server;
  readonly bodies = new Map<number, Uint8Array[]>();
  readonly events: Http2Event[] = [];
  /** Called for each piece of a body; it counts as consumed unless this says false. */
  onData: (id: number, bytes: number) => boolean = () => true;
  onEvent: (event: Http2Event) => void = () => {};
  readonly #duplex: Duplex;
  readonly #pieceBytes: number;
  #waiting: (() => void)[] = [];
  #session: http2.ServerHttp2Session | undefined;

  constructor(listener: Listener, limits: Http2Limits, pieceBytes: number, options: http2.ServerOptions = {}) {
    this.client = new Http2Client({ nowMs: performance.now(), limits });
    this.#pieceBytes = pieceBytes;
    this.#duplex = new Duplex({
      read: () => {},
      write: (chunk: Uint8Array, _encoding, done) => {
        for (let at = 0; at < chunk.length; at += pieceBytes)
          this.client.handleBytes(performance.now(), chunk, at, Math.min(chunk.length, at + pieceBytes));
        // Node's session aborts the process when it is given bytes while it writes some.
        setImmediate(() => {
          this.pump();
          done();
        });
      },
      final: done => {
        this.client.handleEnd();
        this.pump();
        done();
      },
    });
    this.server = http2.createServer(options, listener);
    this.server.on('session', session => {
      this.#session = session;
    });
    this.server.emit('connection', this.#duplex);
    this.pump();
  }

  /** The server says that it goes away, and leaves when the last response is sent. */
  leave(): void {
    this.#session!.close();
  }

  /** Takes events and passes on what the client has to say, until there is neither. */
  pump(): void {
    const out = new Uint8Array(this.#pieceBytes);
    for (let isBusy = true; isBusy; ) {
      isBusy = false;
      for (let event = this.client.pollEvent(); event !== undefined; event = this.client.pollEvent()) {
        if (event.type === 'data') this.#take(event);
        else this.events.push(event);
        this.onEvent(event);
      }
      for (let length = -1; length !== 0; ) {
        length = this.client.pollBytes(out, 0, out.length);
        if (length > 0) this.#duplex.push(out.slice(0, length));
        isBusy ||= length > 0;
      }
    }
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }

  #take({ id, buf, start, end }: Extract<Http2Event, { type: 'data' }>): void {
    const parts = this.bodies.get(id) ?? [];
    parts.push(buf.slice(start, end));
    this.bodies.set(id, parts);
    if (this.onData(id, end - start)) this.client.consumed(performance.now(), id, end - start);
  }

  request(request: Partial<Http2Request>): number {
    const id = this.client.request(performance.now(), { method: 'GET', path: '/', authority: 'unused', ...request });
    this.pump();
    return id;
  }

  /** Waits until something holds; the test's own time limit ends what never does. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) {
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(
          () => reject(new Error(`nothing happened; error: ${this.client.error?.message}`)),
          10_000,
        );
        this.#waiting.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  async response(id: number): Promise<{ status: number; header(name: string): string | undefined; body: Buffer }> {
    await this.until(() => this.events.some(event => event.type === 'end' && event.id === id));
    const head = this.events.find(event => event.type === 'headers' && event.id === id);
    if (head?.type !== 'headers') throw new Error('no head');
    const body = Buffer.concat(this.bodies.get(id) ?? []);
    return { status: head.status, header: name => headerOf(head.headers, name), body };
  }

  close(): void {
    this.client.close();
    this.pump();
    this.#duplex.destroy();
  }
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

/** Reads the whole body, then answers with what `answer` gives. */
function echo(request: http2.Http2ServerRequest, response: http2.Http2ServerResponse): void {
  const parts: Uint8Array[] = [];
  request.on('data', (part: Uint8Array) => parts.push(part));
  request.on('end', () => {
    const body = Buffer.concat(parts);
    response.setHeader('x-seen', `${request.method} ${request.url} ${request.headers['x-a'] ?? ''} ${body.length}`);
    response.end(body.length > 100_000 ? sha256(body) : body);
  });
}

const KINDS = [
  ['small', HTTP2_LIMITS_SMALL, 4077],
  ['large', HTTP2_LIMITS_LARGE, 4077],
  ['large, in tiny pieces', HTTP2_LIMITS_LARGE, 13],
  ['small, byte by byte', HTTP2_LIMITS_SMALL, 1],
] as const;

for (const [name, limits, pieceBytes] of KINDS) {
  test(`requests at once, bodies with GET, large heads (${name})`, async () => {
    const link = new Link(echo, limits, pieceBytes);
    const value = 'v'.repeat(1500);
    const ids = [0, 1, 2, 3, 4, 5].map(i =>
      link.request({
        method: i % 2 === 0 ? 'GET' : 'POST',
        path: `/${i}`,
        headers: [['x-a', value]],
        body: utf8Encode(`body ${i}`),
      }),
    );
    assert.equal(ids, [1, 3, 5, 7, 9, 11]);
    for (const [i, id] of ids.entries()) {
      const { status, header, body } = await link.response(id);
      assert.is(status, 200);
      assert.is(header('x-seen'), `${i % 2 === 0 ? 'GET' : 'POST'} /${i} ${value} 6`);
      assert.is(utf8Decode(body), `body ${i}`);
    }
    link.close();
  });
}

for (const [name, limits, megabytes] of [
  ['small', HTTP2_LIMITS_SMALL, 1],
  ['large', HTTP2_LIMITS_LARGE, 5],
] as const) {
  const size = megabytes * 1_048_576;
  const content = new Uint8Array(size).map((_, i) => (i * 31) ^ (i >> 9));

  test(`${megabytes} MB up, continued as there is room (${name})`, async () => {
    const link = new Link(echo, limits, 4077);
    const id = link.request({ method: 'POST', endStream: false });
    let at = 0;
    let isEnded = false;
    const write = () => {
      if (isEnded) return;
      at += link.client.sendData(performance.now(), id, content, at, size, true);
      isEnded = at === size;
    };
    link.onEvent = event => {
      if (event.type === 'writable') write();
    };
    write();
    link.pump();
    const { body } = await link.response(id);
    assert.is(utf8Decode(body), sha256(content));
    link.close();
  });

  test(`${megabytes} MB down, held back while the caller does not consume (${name})`, async () => {
    const link = new Link((_, response) => void response.end(content), limits, 4077);
    let held = 0;
    link.onData = (_, bytes) => {
      held += bytes;
      return false;
    };
    const id = link.request({});
    const first = Math.min(limits.initialStreamWindowBytes, size);
    await link.until(() => held === first);
    await new Promise(resolve => setTimeout(resolve, 30));
    assert.is(held, first, 'no more than the window came');
    link.onData = () => true;
    link.client.consumed(performance.now(), id, held);
    link.pump();
    const { body } = await link.response(id);
    assert.is(body.length, size);
    assert.is(sha256(body), sha256(content));
    link.close();
  });
}

test('a response that never ends goes on beside others, until it is cancelled', async () => {
  let isClosed = false;
  const link = new Link(
    (request, response) => {
      if (request.url !== '/map') return echo(request, response);
      const timer = setInterval(() => response.write('tick '), 5);
      response.on('close', () => {
        isClosed = true;
        clearInterval(timer);
      });
    },
    HTTP2_LIMITS_SMALL,
    4077,
  );
  const map = link.request({ method: 'POST', path: '/map', body: utf8Encode('{}') });
  const ticks = () => Buffer.concat(link.bodies.get(map) ?? []).length / 5;
  await link.until(() => ticks() >= 3);
  for (let i = 0; i < 5; i++)
    assert.is(utf8Decode((await link.response(link.request({ method: 'POST', body: utf8Encode('x') }))).body), 'x');
  const before = ticks();
  await link.until(() => ticks() >= before + 3);
  link.client.cancel(performance.now(), map);
  link.pump();
  const { body } = await link.response(link.request({ body: utf8Encode('still there') }));
  assert.is(utf8Decode(body), 'still there');
  assert.ok(isClosed, 'the server has heard of it');
  link.close();
});

test('large response heads come through, and too large ones end their request only', async () => {
  const link = new Link(
    (request, response) => {
      response.setHeader('x-large', 'w'.repeat(request.url === '/fits' ? 60_000 : 200_000));
      response.end('body');
    },
    HTTP2_LIMITS_LARGE,
    4077,
    { maxSendHeaderBlockLength: 1_000_000 },
  );
  const { header, body } = await link.response(link.request({ path: '/fits' }));
  assert.is(header('x-large')!.length, 60_000);
  assert.is(utf8Decode(body), 'body');
  link.close();
  const small = new Link(
    (_, response) => response.writeHead(200, { 'x-a': 'b'.repeat(1500), 'x-b': '\u00e9' }).end(),
    HTTP2_LIMITS_SMALL,
    4077,
  );
  const answer = await small.response(small.request({}));
  assert.is(answer.header('x-a')!.length, 1500);
  small.close();
});

test('trailers and a HEAD request', async () => {
  const link = new Link(
    ({ method }, response) => {
      response.setHeader('content-length', '4');
      if (method !== 'HEAD') response.addTrailers({ checksum: '7' });
      response.end(method === 'HEAD' ? '' : 'body');
    },
    HTTP2_LIMITS_SMALL,
    4077,
  );
  const head = await link.response(link.request({ method: 'HEAD' }));
  assert.equal([head.header('content-length'), head.body.length], ['4', 0]);
  const id = link.request({});
  assert.is(utf8Decode((await link.response(id)).body), 'body');
  const trailers = link.events.find(event => event.type === 'trailers');
  assert.equal(trailers, { type: 'trailers', id, headers: [['checksum', '7']] });
  link.close();
});

test('a server that closes lets what is under way finish and takes nothing new', async () => {
  const answers: http2.Http2ServerResponse[] = [];
  const begin: Listener = (_, response) => {
    response.writeHead(200);
    response.write('not ');
    answers.push(response);
  };
  const link = new Link(begin, HTTP2_LIMITS_LARGE, 4077);
  const id = link.request({});
  await link.until(() => link.events.length > 0);
  link.leave();
  await link.until(() => link.events.some(({ type }) => type === 'goaway'));
  assert.is(link.request({}), -1);
  answers[0]!.end('the last');
  assert.is(utf8Decode((await link.response(id)).body), 'not the last');
  await link.until(() => link.client.error !== undefined);
  assert.equal(
    link.events.map(({ type }) => type),
    ['headers', 'goaway', 'end', 'closed'],
  );
  assert.is(link.client.error!.code, 'ERR_CLOSED');
  link.close();
});

test('a server that may be asked one thing at a time is', async () => {
  let most = 0;
  let open = 0;
  const link = new Link(
    (_, response) => {
      most = Math.max(most, ++open);
      setTimeout(() => {
        open--;
        response.end('x');
      }, 5);
    },
    HTTP2_LIMITS_LARGE,
    4077,
    { settings: { maxConcurrentStreams: 1 } },
  );
  const first = link.request({});
  await link.response(first);
  const ids = [0, 1, 2].map(() => link.request({}));
  for (const id of ids) assert.is((await link.response(id)).status, 200);
  assert.is(most, 1);
  link.close();
});

test.run();
