// nats.go - loads a key-value bucket of a NATS JetStream cluster; see measure.go.
package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const bucket = "bench"

const (
	stream  = "bench_topic"
	subject = "bench.topic"
)

type natsBucket struct {
	store nats.KeyValue
	js    nats.JetStreamContext
}

func (n natsBucket) publish(value []byte, limit time.Duration) error {
	_, err := n.js.Publish(subject, value)
	return err
}

func (n natsBucket) published() (uint64, error) {
	info, err := n.js.StreamInfo(stream)
	if err != nil {
		return 0, err
	}
	return info.State.LastSeq, nil
}

// follow subscribes without acknowledgements, in order, from behind a sequence.
func (n natsBucket) follow(prefix string, from uint64, heard func(value []byte)) error {
	_, err := n.js.Subscribe(subject, func(m *nats.Msg) { heard(m.Data) }, nats.OrderedConsumer(), nats.StartSequence(from+1))
	return err
}

// The limit is the connection's: the library has none for a single request of a bucket.
func (n natsBucket) put(key string, value []byte, limit time.Duration) error {
	_, err := n.store.Put(key, value)
	return err
}

func (n natsBucket) get(key string, level string, limit time.Duration) ([]byte, error) {
	entry, err := n.store.Get(key)
	if errors.Is(err, nats.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return entry.Value(), nil
}

func main() {
	s := parseSettings()
	dial := func() (nats.JetStreamContext, error) {
		c, err := nats.Connect(s.endpoints, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
		if err != nil {
			return nil, err
		}
		return c.JetStream(nats.MaxWait(attemptLimit))
	}
	serve(s, func() (connection, error) {
		js, err := dial()
		if err != nil {
			return nil, err
		}
		store, err := js.KeyValue(bucket)
		return natsBucket{store, js}, err
	}, map[string]func() (string, error){
		"leader": func() (string, error) {
			js, err := dial()
			if err != nil {
				return "", err
			}
			info, err := js.StreamInfo("KV_" + bucket)
			if err != nil {
				return "", err
			}
			if info.Cluster == nil || !strings.HasPrefix(info.Cluster.Leader, "n") {
				return "", fmt.Errorf("nobody leads")
			}
			var node int
			if _, err := fmt.Sscanf(info.Cluster.Leader, "n%d", &node); err != nil {
				return "", err
			}
			return fmt.Sprintf("leader %d", node-1), nil
		},
		// Makes the bucket and the stream, and is content when every replica of them follows.
		"ready": func() (string, error) {
			js, err := dial()
			if err != nil {
				return "", err
			}
			if _, err := js.KeyValue(bucket); err != nil {
				_, err = js.CreateKeyValue(&nats.KeyValueConfig{Bucket: bucket, Replicas: s.nodes, Storage: nats.FileStorage})
				if err != nil {
					return "", err
				}
			}
			if _, err := js.StreamInfo(stream); err != nil {
				_, err = js.AddStream(&nats.StreamConfig{Name: stream, Subjects: []string{subject}, Replicas: s.nodes,
					Storage: nats.FileStorage, MaxMsgs: 1000000})
				if err != nil {
					return "", err
				}
			}
			for _, name := range []string{"KV_" + bucket, stream} {
				if err := follow(js, name, s.nodes); err != nil {
					return "", err
				}
			}
			return "ready", nil
		},
	})
}

// follow is an error unless the stream has a leader and every replica is up to date.
func follow(js nats.JetStreamContext, name string, nodes int) error {
	info, err := js.StreamInfo(name)
	if err != nil || nodes == 1 {
		return err
	}
	if info.Cluster == nil || info.Cluster.Leader == "" || len(info.Cluster.Replicas) < nodes-1 {
		return fmt.Errorf("%s has no leader or too few replicas", name)
	}
	for _, replica := range info.Cluster.Replicas {
		if !replica.Current {
			return fmt.Errorf("%s: replica %s is behind", name, replica.Name)
		}
	}
	return nil
}
