// Addresses: one form for each, what limits count by, and whose word about others is believed.

import t from 'tap'
import { addressRange, TrustedProxies } from './peers.ts'

t.test('addresses: one form for one address, and only trusted hops are believed', (t) => {
  const proxies = new TrustedProxies(['127.0.0.1', '10.0.0.0/8', 'fd00::/8'])
  const table: [string, string, string][] = [
    ['1.2.3.4', '', '1.2.3.4'], ['0000:0000:0000:0000:0000:ffff:0102:0304', '', '1.2.3.4'], ['2001:0db8:0000:0000:0000:0000:0000:0001', '', '2001:db8::1'],
    ['127.0.0.1', '5.6.7.8', '5.6.7.8'], ['127.0.0.1', '9.9.9.9, 5.6.7.8, 10.1.1.1', '5.6.7.8'], ['127.0.0.1', 'junk', '127.0.0.1'],
    ['127.0.0.1', '5.6.7.8, junk', '127.0.0.1'], ['1.2.3.4', '5.6.7.8', '1.2.3.4'], ['fd00:0000:0000:0000:0000:0000:0000:0001', '2001:db8::5', '2001:db8::5'], ['127.0.0.1', '10.1.1.1', '10.1.1.1']
  ]
  for (const [peer, forwarded, expected] of table) t.equal(proxies.clientAddress(peer, forwarded), expected, `${peer} ${forwarded}`)
  const ranges: [string, string][] = [['1.2.3.4', '1.2.3.4'], ['::1', '0:0:0:0::/64'], ['2001:db8::5', '2001:db8:0:0::/64'], ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'], ['2001:db8:1:2::', '2001:db8:1:2::/64'], ['1::2:3:4:5:6', '1:0:0:2::/64']]
  for (const [address, expected] of ranges) t.equal(addressRange(address), expected, address)
  t.same(['10.9.9.9', '127.0.0.1', '1.2.3.4', '::1', 'junk'].map((address) => proxies.trusts(address)), [true, true, false, false, false], 'who is a proxy')
  for (const entry of ['nonsense', '10.0.0.0/33', '10.0.0.0/x', '']) t.throws(() => new TrustedProxies([entry]), /neither/)
  t.end()
})
