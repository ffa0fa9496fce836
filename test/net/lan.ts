// Finding by multicast DNS, on the loopback interface, where it takes multicast; and its silence
// where nothing can be sent.

import { createSocket } from 'node:dgram'
import t from 'tap'
import { LanDiscovery } from '../../src/net/lan.ts'
import { believedAddresses } from '../../src/net/own-addresses.ts'
import { HOST, keysAt, newNode, newVault, until } from './net.helper.ts'

const ip = '239.255.77.1'
const port = 20_000 + Math.floor(Math.random() * 20_000)
const multicast = { ip, port, interface: HOST }

function takesMulticast(): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createSocket({ type: 'udp4', reuseAddr: true })
    const end = (is: boolean): void => {
      clearTimeout(timer)
      socket.close(() => resolve(is))
    }
    const timer = setTimeout(() => end(false), 500)
    socket.on('error', () => end(false))
    socket.on('message', () => end(true))
    socket.bind(0, () => {
      try {
        socket.addMembership(ip, HOST)
        socket.setMulticastInterface(HOST)
        socket.setMulticastLoopback(true)
        socket.send('x', socket.address().port, ip)
      } catch {
        end(false)
      }
    })
  })
}

const skip = await takesMulticast() ? false : 'loopback takes no multicast here'

t.test('members meet by their tags, strangers stay apart', { skip }, async (t) => {
  const vault = newVault(2)
  const a = await newNode(keysAt(vault, 0), { lan: { multicast } })
  const stranger = await newNode(keysAt(newVault(1), 0), { lan: { multicast } })
  const b = await newNode(keysAt(vault, 1), { lan: { multicast } })
  t.teardown(() => Promise.all([a, b, stranger].map(({ network }) => network.close())))
  await until(() => a.events.includes('connected') && b.events.includes('connected'))
  t.same(stranger.network.peers(), [])
  t.notOk(a.log.some((line) => line.startsWith('no-door')), 'nobody dials whom it does not know')
})

t.test('without multicast nothing happens', async (t) => {
  const lines: string[] = []
  const lan = new LanDiscovery({
    port: 1,
    ownTag: () => '00'.repeat(8),
    onFound: () => t.fail('found'),
    log: (_, event) => void lines.push(event),
    multicast: { ip: '203.0.113.1', port: 1, interface: '203.0.113.2' },
  })
  lan.refresh()
  await new Promise((resolve) => void setTimeout(resolve, 300))
  await lan.close()
  await lan.close()
  t.pass('it closes')
})

t.test('which addresses of a peer are believed', (t) => {
  const told = [{ host: '127.0.0.1', port: 5 }, { host: '10.0.0.7', port: 5 }]
  t.same(believedAddresses(told, '[::ffff:10.0.0.9]:40000'), [
    { host: '10.0.0.9', port: 5 }, { host: '10.0.0.7', port: 5 },
  ])
  t.same(believedAddresses(told, '127.0.0.1:40000'), told)
  t.same(believedAddresses(told, 'dht'), [{ host: '10.0.0.7', port: 5 }])
  t.end()
})
