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

type natsBucket struct{ store nats.KeyValue }

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
		stream, err := dial()
		if err != nil {
			return nil, err
		}
		store, err := stream.KeyValue(bucket)
		return natsBucket{store}, err
	}, map[string]func() (string, error){
		"leader": func() (string, error) {
			stream, err := dial()
			if err != nil {
				return "", err
			}
			info, err := stream.StreamInfo("KV_" + bucket)
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
		// Makes the bucket, and is content when every replica of it follows.
		"ready": func() (string, error) {
			stream, err := dial()
			if err != nil {
				return "", err
			}
			if _, err := stream.KeyValue(bucket); err != nil {
				_, err = stream.CreateKeyValue(&nats.KeyValueConfig{Bucket: bucket, Replicas: s.nodes, Storage: nats.FileStorage})
				if err != nil {
					return "", err
				}
			}
			info, err := stream.StreamInfo("KV_" + bucket)
			if err != nil {
				return "", err
			}
			if s.nodes == 1 {
				return "ready", nil
			}
			if info.Cluster == nil || info.Cluster.Leader == "" || len(info.Cluster.Replicas) < s.nodes-1 {
				return "", fmt.Errorf("the bucket has no leader or too few replicas")
			}
			for _, replica := range info.Cluster.Replicas {
				if !replica.Current {
					return "", fmt.Errorf("replica %s is behind", replica.Name)
				}
			}
			return "ready", nil
		},
	})
}
