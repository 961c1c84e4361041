// etcd.go - loads an etcd cluster; see measure.go.
package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/clientv3/concurrency"
)

type etcd struct{ client *clientv3.Client }

func (e etcd) put(key string, value []byte, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	_, err := e.client.Put(ctx, key, string(value))
	return err
}

func (e etcd) get(key string, level string, limit time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var options []clientv3.OpOption
	if level == "stale" {
		options = append(options, clientv3.WithSerializable())
	}
	answer, err := e.client.Get(ctx, key, options...)
	if err != nil || len(answer.Kvs) == 0 {
		return nil, err
	}
	return answer.Kvs[0].Value, nil
}

var errNoTopics = errors.New("it has no topics")

func (e etcd) publish(value []byte, limit time.Duration) error { return errNoTopics }

func (e etcd) published() (uint64, error) { return 0, errNoTopics }

func (e etcd) txn(one, two string, first, second []byte, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	answer, err := e.client.Txn(ctx).If(clientv3.Compare(clientv3.Version(one), "!=", math.MaxInt32)).
		Then(clientv3.OpPut(one, string(first)), clientv3.OpPut(two, string(second))).Commit()
	if err == nil && !answer.Succeeded {
		err = errors.New("a compare failed that always holds")
	}
	return err
}

// follow watches the keys of the prefix.
func (e etcd) follow(prefix string, from uint64, heard func(value []byte)) error {
	events := e.client.Watch(context.Background(), prefix, clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	if first := <-events; first.Err() != nil {
		return first.Err()
	}
	go func() {
		for batch := range events {
			for _, event := range batch.Events {
				if event.Type == clientv3.EventTypePut {
					heard(event.Kv.Value)
				}
			}
		}
	}()
	return nil
}

// mutex is one of the client library's own, in a session of the client that wants it.
type mutex struct{ *concurrency.Mutex }

func (e etcd) mutex(name string) (handle, error) {
	session, err := concurrency.NewSession(e.client, concurrency.WithTTL(10))
	if err != nil {
		return nil, err
	}
	return mutex{concurrency.NewMutex(session, name)}, nil
}

func (m mutex) take(limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return m.Lock(ctx)
}

func (m mutex) give(limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return m.Unlock(ctx)
}

func (m mutex) rank() int64 { return m.Header().Revision }

func main() {
	s := parseSettings()
	endpoints := strings.Split(s.endpoints, ",")
	dial := func() (*clientv3.Client, error) {
		return clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: 5 * time.Second})
	}
	// The members as they see it themselves: which of the endpoints leads, and how many of them know.
	look := func() (leader string, know int, err error) {
		client, err := dial()
		if err != nil {
			return "", 0, err
		}
		defer client.Close()
		for i, endpoint := range endpoints {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			status, err := client.Status(ctx, endpoint)
			cancel()
			if err != nil || status.Leader == 0 {
				continue
			}
			know++
			if status.Leader == status.Header.MemberId {
				leader = fmt.Sprint(i)
			}
		}
		return leader, know, nil
	}
	serve(s, func() (connection, error) {
		client, err := dial()
		return etcd{client}, err
	}, map[string]func() (string, error){
		"leader": func() (string, error) {
			leader, _, err := look()
			if err == nil && leader == "" {
				err = fmt.Errorf("nobody leads")
			}
			return "leader " + leader, err
		},
		"ready": func() (string, error) {
			leader, know, err := look()
			if err == nil && (leader == "" || know < len(endpoints)) {
				err = fmt.Errorf("%d of %d members know a leader", know, len(endpoints))
			}
			return "ready", err
		},
	})
}
