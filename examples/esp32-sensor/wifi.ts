/** Wi-Fi by ECMA-419: connects, and connects again whenever the access point is lost. */
import WiFi from 'embedded:network/interface/wifi';
import Timer from 'timer';

const RETRY_MS = 5000;
/** ECMA-419: from here on there is an address. */
const HAS_ADDRESS = 500;
const IS_LOST = 200;

/** Resolves with the first address. What happens later is logged. */
export function connectWiFi(ssid: string, password: string | undefined): Promise<string> {
  const access = password === undefined ? { SSID: ssid } : { SSID: ssid, password, secure: true };
  return new Promise(resolve => {
    let isRetrying = false;
    const wifi = new WiFi({
      onChanged() {
        const { connection, address } = wifi;
        if (connection >= HAS_ADDRESS && address !== undefined) {
          trace(`wifi: ${address}\n`);
          resolve(address);
        } else if (connection <= IS_LOST && !isRetrying) {
          trace(`wifi: no connection to "${ssid}", again in ${RETRY_MS / 1000} s\n`);
          isRetrying = true;
          Timer.set(() => {
            isRetrying = false;
            wifi.connect(access);
          }, RETRY_MS);
        }
      },
    });
    wifi.connect(access);
  });
}
