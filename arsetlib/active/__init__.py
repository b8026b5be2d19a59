"""What to label next: samples that a model would learn most from, and whether that helps.

    active.choose(probability, 50, method="margin")                # rows of a pool
    places = active.next_places(made, 50, method="cluster")        # of a map: where to go
    places.save("next.gpkg")                                       # fill in label_code, then train again
    places.sample().save("visit")                                  # or label them on the page of `arset label`
    active.labelled_rows(table, study, labelled, 2021)             # the labels, as rows to train on
    active.learning_curve(pool, test, methods=…, budget=…)         # with known truth: does it help?

Samples chosen like this are not drawn at random, so they must never be used to estimate accuracy or areas: draw other
samples for that.

Sources: B. Settles, Active Learning Literature Survey, 2009 (entropy, margin); O. Sener & S. Savarese, Active Learning
for Convolutional Neural Networks: A Core-Set Approach, ICLR 2018 (k-centre); F. Zhdanov, Diverse mini-batch Active
Learning, 2019 (cluster).

Lab: part4_defend_the_map.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
