/** The public names of the library. Each runtime's entry re-exports them beside its own `host` and `up`. */
export { type Endpoint, formatEndpoint, parseEndpoint } from './base/address.ts';
export { DROP_NAMES, type DropName } from './base/drop.ts';
export { type ErrorCode, NetError } from './base/errors.ts';
export { parseKey, SecretKey } from './crypto/keys.ts';
export { createNobleSuite } from './crypto/noble.ts';
export { selectSuite } from './crypto/select.ts';
export type { Cipher, CryptoSuite } from './crypto/suite.ts';
export { createWasmSuite } from './crypto/wasm.ts';
export type { Preset } from './device/device.ts';
export { Connection } from './mote/connection.ts';
export type { ConnectionInfo, HttpHandler, HttpServerOptions, MoteServer } from './mote/http-server-options.ts';
export type { MoteEvent } from './mote/events.ts';
export { Listener } from './mote/listener.ts';
export { Mote } from './mote/mote.ts';
export type { AbortSignalLike } from './mote/common-options.ts';
export type { MoteOptions, PeerOptions, WireGuardMoteOptions } from './mote/options.ts';
export type { TailnetMoteOptions } from './mote/tailnet-options.ts';
export type {
  MoteStatus,
  PathPing,
  PeerStatus,
  TailnetPeerStatus,
  TailnetRelayStatus,
  TailnetStatus,
} from './mote/status.ts';
export type { NetcheckHome, NetcheckRelay, NetcheckStatus } from './netcheck/summary.ts';
export type { Whois } from './mote/whois.ts';
export { type Datagram, UdpSocket } from './mote/udp-socket.ts';
export type {
  Clock,
  DatagramOptions,
  Datagrams,
  DatagramSink,
  Host,
  HostStream,
  Random,
  Store,
  StreamOptions,
  StreamSink,
  StreamTlsOptions,
  Timer,
} from './ports.ts';
