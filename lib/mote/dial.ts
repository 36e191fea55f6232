/** Waiting for a connection that was dialled: until it stands, fails, times out or is aborted. */
import { NetError } from '../base/errors.ts';
import type { Connection, ConnectionOwner } from './connection.ts';
import type { AbortSignalLike } from './common-options.ts';

/** One dial. */
export interface Dial {
  /** For errors: `web port 80`. */
  readonly what: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignalLike | undefined;
  readonly owner: Pick<ConnectionOwner, 'delay'>;
  /** Makes the connection, which says by `settled` that it stands, or why it does not. */
  create(settled: (error: NetError | undefined) => void): Connection;
}

/** Resolves with the connection when it stands; rejects with NetError, also `ERR_TIMED_OUT` and `ERR_ABORTED`. */
export function connected({ what, timeoutMs, signal, owner, create }: Dial): Promise<Connection> {
  return new Promise((resolve, reject) => {
    let givenUp: NetError | undefined;
    const giveUp = (error: NetError) => {
      givenUp = error;
      connection.abort();
    };
    const onAbort = () => giveUp(new NetError('ERR_ABORTED', `the dial to ${what} was aborted`));
    const cancelTimeout = owner.delay(timeoutMs, () =>
      giveUp(new NetError('ERR_TIMED_OUT', `${what} did not answer within ${timeoutMs} ms`)),
    );
    const connection = create(error => {
      cancelTimeout();
      signal?.removeEventListener('abort', onAbort);
      if (error === undefined) resolve(connection);
      else reject(givenUp ?? error);
    });
    signal?.addEventListener('abort', onAbort);
  });
}
