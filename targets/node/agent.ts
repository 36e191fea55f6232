/**
 * Clients of packages through the tunnel: agents for `node:http` and `node:https` (and all that takes an agent: `ws`,
 * `got`, `axios`), and the `connect` function of undici's dispatchers.
 */
import { Agent, type AgentOptions } from 'node:http';
import { Agent as SecureAgent, type AgentOptions as SecureAgentOptions } from 'node:https';
import type { Duplex } from 'node:stream';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';
import { createConnection, type Dialer, type MoteSocket } from './socket.ts';

/** What Node's agents pass to `createConnection`, as far as it matters here. */
interface AgentTarget {
  readonly host?: string;
  readonly port?: number | string;
  readonly timeout?: number;
  readonly noDelay?: boolean;
  readonly keepAlive?: boolean;
  readonly keepAliveInitialDelay?: number;
}

type MakeConnection = (options: object) => Duplex;

/** An agent for `node:http` whose connections go through the tunnel. */
export function createAgent(mote: Dialer, options?: AgentOptions): Agent {
  const agent = new Agent(options);
  const make = (target: AgentTarget) => openSocket(mote, target, 80);
  return Object.assign(agent, { createConnection: make });
}

/**
 * An agent for `node:https`: TLS of Node over the tunnel. Certificates are checked as ever; `options` may hold `ca`,
 * `servername`, and whatever else `tls.connect` takes. Sessions are resumed as with Node's own agent.
 */
export function createSecureAgent(mote: Dialer, options?: SecureAgentOptions): SecureAgent {
  const agent = new SecureAgent(options);
  const { createConnection: original } = agent as unknown as { createConnection: MakeConnection };
  const make = (target: AgentTarget) => original.call(agent, { ...target, socket: openSocket(mote, target, 443) });
  return Object.assign(agent, { createConnection: make });
}

function openSocket(mote: Dialer, target: AgentTarget, defaultPort: number): MoteSocket {
  const { host, port, timeout, noDelay = true, keepAlive, keepAliveInitialDelay } = target;
  const socket = createConnection(mote, {
    host,
    port: port ?? defaultPort,
    timeout,
    noDelay,
    ...(keepAlive === undefined ? {} : { keepAlive }),
    ...(keepAliveInitialDelay === undefined ? {} : { keepAliveInitialDelay }),
  });
  return socket;
}

/** What undici passes to a `connect` function. */
export interface DispatcherTarget {
  readonly hostname: string;
  readonly protocol: string;
  readonly port?: string | number;
  readonly servername?: string | null;
}

/** How undici is told. */
export type DispatcherCallback = (...outcome: [error: Error, socket: null] | [error: null, socket: never]) => void;

/**
 * The `connect` function for undici: `new Agent({ connect: createDispatcherConnect(mote) })`. For `https:` it speaks
 * TLS with the options given (`ca`, `cert`, …).
 */
export function createDispatcherConnect(
  mote: Dialer,
  tls: ConnectionOptions = {},
): (target: DispatcherTarget, callback: DispatcherCallback) => void {
  return (target, callback) => {
    const isSecure = target.protocol === 'https:';
    const host = target.hostname.replace(/^\[|\]$/g, '');
    const port = Number(target.port) || (isSecure ? 443 : 80);
    const plain = createConnection(mote, { host, port, noDelay: true });
    const socket = isSecure ? secure(plain, target.servername || host, tls) : plain;
    const onError = (error: Error) => callback(error, null);
    socket.once('error', onError);
    socket.once(isSecure ? 'secureConnect' : 'connect', () => {
      socket.removeListener('error', onError);
      callback(null, socket as never);
    });
  };
}

/** TLS over a socket; errors of the socket below arrive at the one above. */
function secure(plain: MoteSocket, servername: string, options: ConnectionOptions): TLSSocket {
  // An address is no server name (RFC 6066 §3); the certificate is checked against it all the same.
  const isName = !/^[0-9.]+$|:/.test(servername);
  return connectTls({
    ALPNProtocols: ['http/1.1'],
    host: servername,
    ...(isName ? { servername } : {}),
    ...options,
    socket: plain,
  });
}
