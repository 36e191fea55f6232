/** What a mote tells about itself: peers, endpoints, its membership in a tailnet, failures outside. */
import type { ControlState } from '../device/tailnet.ts';

/** Something that happened to a mote. */
export type MoteEvent =
  /** A handshake with a peer completed. */
  | { readonly type: 'handshake'; readonly publicKey: string; readonly isInitiator: boolean }
  /** A peer did not answer for 90 seconds; the packets that waited were dropped. Traffic starts it again. */
  | { readonly type: 'gave-up'; readonly publicKey: string }
  /** A peer is now reached at another UDP address. */
  | { readonly type: 'endpoint'; readonly publicKey: string; readonly endpoint: string }
  /** A session was not renewed in time; the next packet makes a new one. */
  | { readonly type: 'session-expired'; readonly publicKey: string }
  /** Joining has come this far: `needs-login`, `needs-approval`, `running`, … */
  | { readonly type: 'state'; readonly state: ControlState }
  /** Somebody has to open this page and log this device in. */
  | { readonly type: 'auth-url'; readonly url: string }
  /** The coordinator asks for this page to be opened. */
  | { readonly type: 'open-url'; readonly url: string }
  /** The network is known anew, with so many peers. */
  | { readonly type: 'netmap'; readonly peers: number }
  /** The relay through which peers reach this mote, by its region's code; undefined: none. */
  | { readonly type: 'home'; readonly relay: string | undefined }
  /** A peer is reached directly at this UDP endpoint now; undefined: through a relay. */
  | { readonly type: 'path'; readonly publicKey: string; readonly endpoint: string | undefined }
  /** The node key was changed before it expired. */
  | { readonly type: 'key-changed'; readonly publicKey: string }
  /** The membership ends at this time (ms since 1970) unless somebody logs in again. */
  | { readonly type: 'expiring'; readonly unixMs: number }
  /** Something outside failed: a name did not resolve, the store did not save, the socket broke. */
  | { readonly type: 'error'; readonly code: string; readonly message: string };
