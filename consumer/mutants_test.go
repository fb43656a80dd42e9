package consumer_test

// What the tests catch: engines that were made wrong on purpose, one at a time, and the first tests of this package that
// failed (`go test ./consumer -schedules 150`, 10 to 30 s each). Try these again after a change of the engine's middle.
//
//	position stored one checkpoint before its values   TestASlowUnitHoldsUpNoOther and nearly all others
//	a conflict taken for success                       TestOfTwoWorkersTheOneWithTheHigherEpochGoesOnAndTheOtherStandsBy
//	epoch not raised by a claim                        the same
//	no claim at all                                    the same
//	one try of a checkpoint, its failure ignored       the same
//	no reload where the store went back                TestAStoreThatWentBackIsReplayedFromWhatItHolds
//	log not judged when a reader is joined             TestALogThatIsRemadeBeforeItsReaderIsOpenedIsDiverged
//	log not judged after a reset of the reader         TestARemadeStreamIsDivergedWhileTheWorkerIsLive
//	witnesses that differ passed over                  TestWhoseLogIsIt, TestARestoredStreamIsDiverged…
//	position moved without a witness                   TestARestoredStreamIsDivergedAlsoWhereTheProjectionsOwnLastEventIsOlder
//	the anchor folded twice (>= for >)                 TestAPoisonEventHaltsItsUnitAloneAfterTheEventBefore
//	resumed one event too late                         TestUnitsThatBeginTogetherShareOneReader and nearly all others
//	the fold kept when a runner begins again           TestSkippedPoisonIsRecordedAndEveryReplayDecidesTheSame
//	no reload after half an event                      the same, TestRandomSchedules
//	record of skipped events not honoured              TestAStopInTheMiddleOfABatchKeepsValuesAndPositionTogether
//	a batch that does not follow is folded             TestABatchThatDoesNotFollowIsNotFolded
//	a slow unit's batches dropped without errBehind    TestASlowUnitHoldsUpNoOther
//	a checkpoint while one is in flight                TestPace, TestAPausedOwnerFindsItselfFencedAndItsWritesAreRefused
//	a dirty value evicted                              TestRandomSchedules
//	a deleted key read back before the store knows     TestRandomSchedules
//
// Two make no difference, and no test can tell them. Acked after a checkpoint whose outcome is unknown: the error ends the
// runner, and its fold with it. Values loaded under another mark than the one that was left there: they are folded, but
// the fence refuses the checkpoint, so that nothing of them is ever stored; the check only saves the time.
