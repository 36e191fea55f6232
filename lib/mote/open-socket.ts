/** The UDP socket of a mote: on the port that its user wants, or else on the one that the last run had. */
import { isNetError } from '../base/errors.ts';
import type { Driver } from '../driver.ts';

/**
 * Opens the socket. `lastPort` is tried where `listenPort` is 0, since peers remember it; if it is taken, any will do.
 * Rejects with NetError `ERR_ADDRESS_IN_USE`, `ERR_ADDRESS_UNAVAILABLE`.
 */
export async function openSocket(
  driver: Driver,
  settings: { readonly listenPort: number; readonly listenAddress: string | undefined },
  lastPort: number,
): Promise<void> {
  const { listenPort, listenAddress } = settings;
  const at = listenAddress === undefined ? {} : { address: listenAddress };
  const isWished = listenPort === 0 && lastPort > 0;
  try {
    await driver.open({ port: isWished ? lastPort : listenPort, ...at });
  } catch (error) {
    if (!isWished || !isNetError(error)) throw error;
    await driver.open({ port: 0, ...at });
  }
}
