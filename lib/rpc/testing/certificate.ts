/**
 * @module
 * A self-signed certificate for 127.0.0.1, for tests alone. It protects nothing.
 */

/** PEM text of the certificate; also the authority that vouches for it. */
export const testCertificate = `-----BEGIN CERTIFICATE-----
MIIBnTCCAUOgAwIBAgIUQb2yk1hYnPnUKbaM5MG2CzgtYFMwCgYIKoZIzj0EAwIw
FTETMBEGA1UEAwwKZWFnbGUtdGVzdDAgFw0yNjExMjQwMzU0MTlaGA8yMTI2MTAz
MTAzNTQxOVowFTETMBEGA1UEAwwKZWFnbGUtdGVzdDBZMBMGByqGSM49AgEGCCqG
SM49AwEHA0IABMH/1GoGQSJYDJ8iNC8V3FrKuas7NLg6s4Ov8+A3+WfN96mdH8n0
9X41TGK5JQZfkQAL6TCoBhtJjOU5HZc4zsajbzBtMB0GA1UdDgQWBBTx/JcBsWL7
xuhAnzk9dwBRymQjtTAfBgNVHSMEGDAWgBTx/JcBsWL7xuhAnzk9dwBRymQjtTAP
BgNVHRMBAf8EBTADAQH/MBoGA1UdEQQTMBGHBH8AAAGCCWxvY2FsaG9zdDAKBggq
hkjOPQQDAgNIADBFAiEAt13gt0WR2BzEX76mhxyqgTKwCIftTCYM/VcT0ghVu9MC
IHnGXD9wBoNFKtVtwGsNXdSZ6VvBoRiEl6rv2ylCXJP7
-----END CERTIFICATE-----
`;

/** PEM text of its key. */
export const testKey = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg/Ece5jJTJwsa1q7v
KFLOVcM5+UkMNz/ffhEx/haH0gahRANCAATB/9RqBkEiWAyfIjQvFdxayrmrOzS4
OrODr/PgN/lnzfepnR/J9PV+NUxiuSUGX5EAC+kwqAYbSYzlOR2XOM7G
-----END PRIVATE KEY-----
`;
