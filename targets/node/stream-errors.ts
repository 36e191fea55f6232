/** Failures of `node:net` and `node:tls` as {@link NetError}, whatever the runtime calls them. */
import { type ErrorCode, NetError } from '../../lib/base/errors.ts';
import { fromSocketError } from './socket-errors.ts';

/** Codes that {@link fromSocketError} reads differently: there, a broken pipe is this side's own doing. */
const CODES: Readonly<Record<string, ErrorCode>> = Object.freeze({
  EPIPE: 'ERR_CONNECTION_RESET',
  ENETUNREACH: 'ERR_UNREACHABLE',
  EHOSTDOWN: 'ERR_UNREACHABLE',
  ENETDOWN: 'ERR_UNREACHABLE',
  EAFNOSUPPORT: 'ERR_ADDRESS_UNAVAILABLE',
  EINVAL: 'ERR_ADDRESS_UNAVAILABLE',
  EACCES: 'ERR_ADDRESS_UNAVAILABLE',
  EPERM: 'ERR_ADDRESS_UNAVAILABLE',
  EMFILE: 'ERR_LIMIT',
  ENFILE: 'ERR_LIMIT',
});
/** Codes of a connection that broke, rather than of a certificate. */
const BROKEN = /^(ECONNRESET|EPIPE|ETIMEDOUT|ECONNABORTED|EHOSTUNREACH|ENETUNREACH)$/;

/** The NetError of a failed connection; `what` opens the message. */
export function streamError(error: Error, what: string): NetError {
  const { code } = error as { code?: string };
  const isTls = code !== undefined && /^(ERR_SSL|ERR_TLS|EPROTO)/.test(code);
  const netCode = isTls ? 'ERR_TLS' : (code !== undefined && CODES[code]) || fromSocketError(error).code;
  return new NetError(netCode, `${what}: ${error.message}`, { cause: error });
}

/** The NetError of a TLS handshake with `serverName` that did not succeed. */
export function tlsError(error: Error, serverName: string): NetError {
  const { code, message } = error as { code?: string; message: string };
  if (code !== undefined && BROKEN.test(code)) return streamError(error, `TLS with ${serverName} failed`);
  return new NetError('ERR_TLS', `${serverName} is not trusted: ${message}`, { cause: error });
}
