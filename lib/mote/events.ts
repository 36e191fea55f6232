/** What a mote tells about itself: peers, endpoints, failures outside. */

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
  /** Something outside failed: a name did not resolve, the store did not save, the socket broke. */
  | { readonly type: 'error'; readonly code: string; readonly message: string };
