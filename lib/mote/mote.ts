/**
 * The friendly face: one member of a private network, with `listen`, `dial`, `udp`, `serve` and `fetch` as promises.
 * All but HTTP is in base-mote.ts.
 */
import type { CryptoSuite } from '../crypto/suite.ts';
import type { DeviceParts } from '../device/device.ts';
import type { Host } from '../ports.ts';
import { BaseMote } from './base-mote.ts';
import { MoteCore } from './core.ts';
import type { RuntimeRequestInit, RuntimeRequestInput, RuntimeResponse } from './fetch-types.ts';
import { HttpClient } from './http-client.ts';
import { HttpServer } from './http-server.ts';
import type { HttpHandler, HttpServerOptions, MoteServer } from './http-server-options.ts';
import { HTTP_CLIENT_SMALL, HTTP_SERVER_SMALL } from './http-syntax.ts';
import type { MoteOptions } from './options.ts';

/** One member of a private network. */
export class Mote extends BaseMote {
  /** As in the base class, and private like there: whoever prints a mote does not see it. */
  readonly #inside: MoteCore;
  #http: HttpClient | undefined;

  /** For `up` only. */
  protected constructor(core: MoteCore) {
    super(core);
    this.#inside = core;
  }

  /** As {@link BaseMote.up}. */
  static override async up(
    host: Host,
    suite: CryptoSuite,
    options: MoteOptions,
    parts: DeviceParts = {},
  ): Promise<Mote> {
    return new Mote(await MoteCore.up(host, suite, options, parts));
  }

  /**
   * Serves HTTP/1.1 inside the tunnel on `port` (80): the handler takes a Request and returns a Response. Rejects with
   * NetError `ERR_ADDRESS_IN_USE`, and with TypeError where the runtime has no Fetch API.
   */
  async serve(handler: HttpHandler, options: HttpServerOptions & { port?: number } = {}): Promise<MoteServer> {
    const { port = 80, ...rest } = options;
    const { timers } = this;
    const sizes = this.#inside.preset === 'small' ? HTTP_SERVER_SMALL : {};
    const server = new HttpServer(handler, {
      timers,
      unixMs: () => this.#inside.host.clock.unixMs(),
      ...sizes,
      ...rest,
    });
    const listener = await this.listen(port);
    void server.listen(listener);
    return { port, close: graceMs => server.close(graceMs) };
  }

  /**
   * The Fetch API's `fetch` inside the tunnel, for `http:` URLs with an address or a name of the `hosts` option.
   * Rejects as `fetch` does, and with NetError as {@link dial} does.
   */
  async fetch(input: RuntimeRequestInput, init?: RuntimeRequestInit): Promise<RuntimeResponse> {
    this.mustBeOpen();
    this.#http ??= new HttpClient({
      connect: ({ host, port }, signal) => this.dial(host, port, signal === undefined ? {} : { signal }),
      timers: this.timers,
      ...(this.#inside.preset === 'small' ? HTTP_CLIENT_SMALL : {}),
      secureAdvice: this.#inside.host.secureFetchAdvice ?? 'speak TLS over a connection of dial()',
    });
    return this.#http.fetch(input, init);
  }

  /** Resets what is open, closes the socket, erases the session keys. Safe to call twice. */
  override async close(): Promise<void> {
    this.#http?.close();
    await super.close();
  }
}
