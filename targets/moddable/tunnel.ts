/**
 * The tunnel as ECMA-419 classes: TCP, Listener, UDP and Resolver over one mote, so that modules which take their io
 * classes as options (Moddable's HTTP, MQTT, WebSocket, TLSSocket and NTP modules, say) run inside the network unchanged.
 *
 * The shape is that of ECMA-419 clauses 11 and 12 as Moddable's own classes have it: options in the constructor,
 * callbacks with the instance as `this` and never from inside a call, formats `number` and `buffer`, `target`, `close`.
 * Left out: multicast, and `port` of a UDP socket.
 */
import type { BaseMote } from '../../lib/mote/base-mote.ts';
import { createListenerClass, type TunnelListenerClass } from './tunnel-listener.ts';
import { createResolverClass, type TunnelResolverClass } from './tunnel-resolver.ts';
import { createTcpClass, type TunnelTcpClass } from './tunnel-tcp.ts';
import { createUdpClass, type TunnelUdpClass } from './tunnel-udp.ts';

/** What the classes use of a mote. */
export type TunnelMote = Pick<BaseMote, 'dial' | 'listen' | 'lookUp' | 'udp'>;

/** The io classes of one mote. */
export interface Tunnel {
  /** `new TCP({ address, port, onReadable, onWritable, onError, format, nodelay, target })`; `{ from }` takes one over. */
  readonly TCP: TunnelTcpClass;
  /** `new Listener({ port, address, onReadable, target })`; `read()` gives a TCP. */
  readonly Listener: TunnelListenerClass;
  /** `new UDP({ port, onReadable, target })`. */
  readonly UDP: TunnelUdpClass;
  /** `new Resolver({})`, `resolve({ host, onResolved, onError })`. */
  readonly Resolver: TunnelResolverClass;
}

/** The classes of a mote. What they leave open ends with the mote. */
export function createTunnel(mote: TunnelMote): Tunnel {
  const TCP = createTcpClass(mote);
  return Object.freeze({
    TCP,
    Listener: createListenerClass(mote, TCP),
    UDP: createUdpClass(mote),
    Resolver: createResolverClass(mote),
  });
}
