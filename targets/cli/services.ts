/**
 * What `motenet wg` and `motenet up` share: a mote with services on it (`--expose`, `--forward`, `--socks`), its events,
 * and an orderly end.
 */
import { formatEndpoint } from '../../lib/base/address.ts';
import type { MoteEvent, MoteStatus } from '../node/index.ts';
import type { MappingOption, ServiceOptions } from './args.ts';
import { RunError } from './errors.ts';
import type { Report } from './report.ts';
import { serveSocks } from './socks.ts';
import { exposeTcp, forwardTcp } from './tcp-proxy.ts';
import type { Service, ServiceContext, Tunnel } from './tunnel.ts';
import { exposeUdp, forwardUdp } from './udp-proxy.ts';

/** How long an orderly end may take. */
const STOP_TIMEOUT_MS = 5000;

/** The mote as these commands use it. */
export interface CommandMote extends Tunnel {
  readonly publicKey: string;
  readonly addresses: readonly string[];
  readonly listenPort: number;
  status(): MoteStatus;
  close(): Promise<void>;
}

/** Lets a slow start be given up. */
export class Stopper {
  isStopped = false;
  readonly #stopped: Promise<void>;

  constructor(stopped: Promise<string>) {
    this.#stopped = stopped.then(() => {
      this.isStopped = true;
    });
  }

  /** What `starting` gives; undefined when the end comes first, and the mote is closed whenever it comes up. */
  async until<M extends CommandMote>(starting: Promise<M>): Promise<M | undefined> {
    const started = starting.catch((error: unknown) => {
      if (this.isStopped) return undefined;
      throw error;
    });
    const mote = await Promise.race([started, this.#stopped]);
    if (mote !== undefined) return mote;
    void started.then(late => late?.close());
    return undefined;
  }
}

/** Tells the events of a mote; `failed` rejects when one of them is the end: an error whose code is not passing. */
export function watchMote(
  report: Report,
  isPassing: (code: string) => boolean,
): { onEvent(event: MoteEvent): void; failed: Promise<never> } {
  let fail: (error: Error) => void = () => undefined;
  const failed = new Promise<never>((_resolve, reject) => {
    fail = reject;
  });
  failed.catch(() => undefined); // it may come before anybody waits for it
  const onEvent = (event: MoteEvent) => {
    const { type, ...given } = event;
    const fields = Object.fromEntries(Object.entries(given).map(([name, value]) => [name, value ?? null]));
    if (type !== 'error') report(type, fields as never);
    else if (isPassing(event.code)) report('trouble', { code: event.code, message: event.message });
    else fail(new RunError(`${event.message} (${event.code}): start the command again`));
  };
  return { onEvent, failed };
}

/** Opens the services in the order of the flags and adds them to `services`, unless the end comes first. */
export async function startServices(
  options: ServiceOptions,
  context: ServiceContext,
  services: Service[],
  isStopped: () => boolean,
): Promise<void> {
  for (const start of starters(options, context)) {
    if (isStopped()) return;
    const service = await start();
    services.push(service);
    context.report('listening', service.info);
  }
}

/** One function per service that the flags ask for; each opens it. */
function starters(options: ServiceOptions, context: ServiceContext): (() => Promise<Service>)[] {
  let last = 0;
  const ids = () => ++last;
  const expose = (option: MappingOption) => () =>
    option.protocol === 'udp' ? exposeUdp(context, option, ids) : exposeTcp(context, option, ids);
  const forward = (option: MappingOption) => () =>
    option.protocol === 'udp' ? forwardUdp(context, option, ids) : forwardTcp(context, option, ids);
  const socks =
    ({ bind, port }: ServiceOptions['socks'][number]) =>
    () =>
      serveSocks(context, bind, port, ids);
  return [...options.expose.map(expose), ...options.forward.map(forward), ...options.socks.map(socks)];
}

/** A warning for each service that listens for more than this machine. */
export function openToOthers(options: ServiceOptions): string[] {
  const bound = [
    ...options.forward.map(({ bind, port }) => ({ flag: '--forward', bind, port })),
    ...options.socks.map(({ bind, port }) => ({ flag: '--socks', bind, port })),
  ];
  return bound
    .filter(({ bind }) => !isLoopback(bind))
    .map(({ flag, bind, port }) => {
      const where = formatEndpoint({ address: bind, port });
      return `${flag} ${where} lets everybody who reaches this machine into the tunnel: leave ${bind} out unless that is meant`;
    });
}

/**
 * Closes the services, then the mote, and tells what it carried: by `status`, where the mote is closed already. Rejects
 * with {@link RunError} when that takes too long.
 */
export async function shutDown(
  mote: CommandMote,
  services: readonly Service[],
  report: Report,
  status = mote.status(),
): Promise<void> {
  const { peers, drops } = status;
  const rxBytes = peers.reduce((sum, peer) => sum + peer.rxBytes, 0);
  const txBytes = peers.reduce((sum, peer) => sum + peer.txBytes, 0);
  let timer: NodeJS.Timeout | undefined;
  const tooLong = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new RunError(`closing took more than ${STOP_TIMEOUT_MS} ms`)), STOP_TIMEOUT_MS);
  });
  const closing = Promise.all(services.map(service => service.close())).then(() => mote.close());
  await Promise.race([closing, tooLong]).finally(() => clearTimeout(timer));
  const dropped = services.reduce((sum, service) => sum + (service.dropped?.() ?? 0), 0);
  const all: Record<string, number> = { ...drops, ...(dropped === 0 ? {} : { 'service-datagram': dropped }) };
  report('stopped', { rxBytes, txBytes, drops: all });
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\./.test(host);
}
