package faults

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tailfold/tailfold/consumer/natslog/natstest"
	"github.com/tailfold/tailfold/snapshotstore/redisstore/redistest"
)

// TestRoutesBetweenServersAreCut cuts one of three NATS servers off from the two others, while the worker stays connected
// to it, and the publisher goes on with the others. The server leads the stream, or has the consumer: then it goes on to
// tell the worker that there is nothing new. The worker says that what it has may be old, and goes on when the ways are
// back.
func TestRoutesBetweenServersAreCut(t *testing.T) {
	routes := map[[2]int]*valve{}
	servers := natstest.StartCluster(t, 3, natstest.Options{Route: func(from, to int, address string) string {
		v := startValve(t, address)
		routes[[2]int{from, to}] = v
		return v.addr()
	}})
	s := newSceneIn(t, redistest.Start(t), servers)
	js := natstest.JetStream(t, servers[0].Connect())
	for round := range 1 + *kills/50 {
		leader := natstest.Number(replicas(t, js, len(servers)))
		at, what := (leader+1)%len(servers), "has the consumer"
		if round%2 == 1 {
			at, what = leader, "leads the stream"
		}
		s.natsURL = servers[at].URL()
		w := s.startWorker("")
		s.awaitSeq(s.published()+50, allModels...)
		for round%2 == 0 && consumerOn(t, js) != at { // on which server it is is drawn by lot
			s.killWorker()
			w = s.startWorker("")
			s.awaitSeq(s.published()+50, allModels...)
		}
		var heal []func()
		refused := s.rng.IntN(2) == 1
		for pair, v := range routes {
			switch backend := v.backend; {
			case pair[0] != at && pair[1] != at:
			case refused:
				v.lead("127.0.0.1:1") // where nobody listens
				heal = append(heal, func() { v.lead(backend) })
			default:
				v.set("to", true)
				v.set("from", true)
				heal = append(heal, func() { v.set("to", false); v.set("from", false) })
			}
		}
		cut := time.Now()
		// A leader that is cut off goes on to answer until it finds out that it has lost its followers.
		w.saysWithin(2*time.Minute, "that nobody answers for the log", waitsFor("LOG_UNAVAILABLE"))
		t.Logf("node-%d, which %s, is cut off (connections refused: %v): said after %v", at, what, refused, time.Since(cut).Round(time.Millisecond))
		for _, model := range allModels {
			s.mustBeAPrefix(model)
		}
		for _, f := range heal {
			f()
		}
		healed := time.Now()
		s.awaitEvents(50)
		s.awaitSeq(s.published(), allModels...)
		t.Logf("at the log's end again after %v", time.Since(healed).Round(time.Millisecond))
		w.mustNotHalt()
		s.killWorker()
	}
	s.natsURL = s.serversURL
	s.finish()
}

// consumerOn is the number of the server that has the newest consumer of the stream.
func consumerOn(t *testing.T, js jetstream.JetStream) int {
	t.Helper()
	stream, err := js.Stream(t.Context(), "EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	consumers := stream.ListConsumers(t.Context())
	var newest *jetstream.ConsumerInfo
	for info := range consumers.Info() {
		if newest == nil || info.Created.After(newest.Created) {
			newest = info
		}
	}
	if newest == nil || newest.Cluster == nil || consumers.Err() != nil {
		t.Fatalf("there is no consumer: %v", consumers.Err())
	}
	return natstest.Number(newest.Cluster.Leader)
}
