/**
 * Errors of the tunnel as Node's own sockets report them (`code`, `errno`, `syscall`, `address`, `port`), because that
 * is what packages look at; and the way back.
 */
import { constants } from 'node:os';
import { type ErrorCode, NetError, isNetError } from '../../lib/base/errors.ts';

/** Node's code of each of ours. `ERR_CLOSED` is a write after the end of this side. */
const NODE_CODES: Readonly<Record<ErrorCode, string>> = Object.freeze({
  ERR_ADDRESS_IN_USE: 'EADDRINUSE',
  ERR_ADDRESS_UNAVAILABLE: 'EADDRNOTAVAIL',
  ERR_CONNECTION_REFUSED: 'ECONNREFUSED',
  ERR_CONNECTION_RESET: 'ECONNRESET',
  ERR_TIMED_OUT: 'ETIMEDOUT',
  ERR_UNREACHABLE: 'EHOSTUNREACH',
  ERR_CLOSED: 'EPIPE',
  ERR_ABORTED: 'ECONNABORTED',
  ERR_NOT_ALLOWED: 'EPERM',
  ERR_LIMIT: 'ENOBUFS',
  ERR_MESSAGE_SIZE: 'EMSGSIZE',
  ERR_NAME_NOT_FOUND: 'ENOTFOUND',
  ERR_STORE: 'EIO',
  ERR_TLS: 'ERR_TLS',
  ERR_LOGIN: 'EACCES',
  ERR_PROTOCOL: 'EPROTO',
});

/** An error as Node's sockets emit it; `cause` is the NetError. */
export interface SocketError extends Error {
  code?: string;
  errno?: number;
  syscall?: string;
  address?: string;
  port?: number;
}

/**
 * The Node error of what a call of the tunnel was rejected with. `at` is where a connect or listen was headed.
 * Anything but a NetError is returned as it is.
 */
export function toSocketError(error: unknown, syscall: string, at?: { address: string; port: number }): SocketError {
  if (!isNetError(error)) return error instanceof Error ? error : new Error(String(error));
  const code = NODE_CODES[error.code];
  const isLookup = code === 'ENOTFOUND';
  const where = at === undefined ? '' : isLookup ? ` ${at.address}` : ` ${at.address}:${at.port}`;
  const out: SocketError = new Error(`${isLookup ? 'getaddrinfo' : syscall} ${code}${where}`, { cause: error });
  out.code = code;
  out.syscall = isLookup ? 'getaddrinfo' : syscall;
  const errno = (constants.errno as Record<string, number>)[code];
  if (errno !== undefined) out.errno = -errno;
  if (at === undefined) return out;
  if (isLookup) return Object.assign(out, { hostname: at.address });
  return Object.assign(out, at);
}

/** An error with a code of Node's, for what a socket refuses by itself. */
export function socketError(code: string, message: string): SocketError {
  return Object.assign(new Error(message), { code });
}

/** The NetError of what a Node stream failed with. */
export function fromSocketError(error: unknown): NetError {
  if (isNetError(error)) return error;
  const { code, message } = error as SocketError;
  const known = (Object.keys(NODE_CODES) as ErrorCode[]).find(name => NODE_CODES[name] === code);
  return new NetError(known ?? 'ERR_CONNECTION_RESET', message, { cause: error });
}
