# ---
# jupyter:
#   jupytext:
#     formats: py:percent,ipynb
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown] made_from="757aa2bb"
# # Práctica 4 · Un mapa que puedes defender
#
# :::{admonition} De un vistazo
# :class: lab-header
# **Pregunta.** Alguien usará tu mapa. ¿Dónde se equivoca, cuán seguro es, cuántas hectáreas muestra y qué conviene etiquetar después?
#
# **Producto.** Una lista de etiquetas probablemente erróneas. Un mapa que dice *indeterminado* donde el modelo no está seguro. Superficies con intervalos, un mapa por parcela y una lista de lugares que visitar.
#
# **Al terminar sabrás**
# - encontrar etiquetas probablemente erróneas, y decir cuántas de las que encontraste lo son;
# - dar a cada píxel un conjunto de clases que contiene la etiqueta tantas veces como prometes, y medir dónde se rompe la promesa;
# - decir dónde un modelo nunca aprendió a responder;
# - sortear una muestra para etiquetar, estimar hectáreas con un intervalo, y poner a prueba el intervalo;
# - hacer un mapa por parcela, y medir qué se gana con ello;
# - elegir qué etiquetar después, y averiguar si la elección fue mejor que el azar;
# - averiguar si las representaciones vectoriales (*embeddings*) ayudan cuando hay pocas etiquetas.
#
# **Tiempo.** Unos 120 minutos en dos mitades, con una pausa antes de la sección 8. **Necesitas** la práctica 3, o saber qué es una validación. No hace falta tarjeta gráfica.
# :::
#
# Cada actividad tiene cuatro partes, como en las prácticas anteriores. *Predice*: responde la pregunta antes de ejecutar la celda. *Ejecuta* la celda. *Lee* la explicación. *Comprueba*: un `assert` verifica lo que dice la explicación.

# %% made_from="234bbd3d"
from importlib.util import find_spec

from IPython import get_ipython

if find_spec("arsetlib") is None:  # un cuaderno nuevo de Colab o Databricks
    home = "https://github.com/--home-not-set--/crop-maps-at-scale"
    if "not-set" in home:
        raise RuntimeError("Aún sin dirección: falta ejecutar make home URL=…")
    own = "" if find_spec("tensorflow") else ",platform-tensorflow"
    get_ipython().run_line_magic(
        "pip", f'install -q "arsetlib[platform{own}] @ git+{home}"'
    )

from arsetlib import check_env, language

language("es")
check_env(("labs", "train", "images", "spark"))

# %% [markdown] made_from="9ebe676f"
# ## 1. Un modelo y su mapa
#
# La práctica empieza donde terminó la práctica 3: con una tabla, tres conjuntos (entrenamiento, validación y prueba), un modelo y un mapa. Aquí se hacen de una vez.
#
# :::{admonition} Datos simulados
# :class: simulated
# Si no cambias la línea, los datos de esta práctica no vienen de un satélite: son el delta simulado de la práctica 1. Aquí es una ventaja. En un lugar real nadie conoce todas las etiquetas erróneas. En el delta se conoce la verdad, y así se puede comprobar cada método de esta práctica.
# :::

# %% made_from="831788d4"
from arsetlib import lab, samples

source = "simulated"  # o "real", o tu archivo de estudio, "mine.toml"
here = lab.place(source)
delta = source == "simulated" and not here.small  # lo usan algunos assert
study, box = here.study, here.box
table = here.table()
print(here)

# %% made_from="953d1e35"
others = [a.key for a in study.areas if a != box]
held_out = [box.key, *others[4:5]] if others else []
by = "year and block" if len(study.years) > 2 else "block"
sides = samples.split(table, study, by=by, held_out=held_out)
print({side: len(rows) for side, rows in sides.items()})
assert len(sides["test"]) > 0

# %% [markdown] made_from="85d654db"
# El modelo es la red que `arset train` usa si no se elige otra: atención sobre los intervalos, con lo que se vio y el día del año. Para esta práctica basta una fecha: aquella en la que mejor se encuentran los cultivos en la *validación*. Si se eligiera con la prueba, la puntuación de la prueba sería demasiado buena.
#
# :::{admonition} Predice
# :class: predict
# El mapa de esta fecha y las etiquetas difieren en algunos píxeles del recuadro. ¿En cuántos: el 5 %, el 20 % o el 40 %? ¿Se equivoca el mapa en todos ellos?
# :::

# %% made_from="bfc05f3d"
import shutil

from arsetlib import training

runs = here.work / "lab4"
shutil.rmtree(runs, ignore_errors=True)  # si no, se vuelve a usar lo hecho
recipe = {
    "epochs": 3 if here.small else 40,
    "patience": 2 if here.small else 6,
    "seed": 1,
    "progress": here.bars,
    "missing": "allow" if here.small else "refuse",
}
K, names = len(study.legend.classes), study.legend.names()

# %% made_from="3775eaf6"
model = training.fit("ltae", sides, study, folder=runs / "model", **recipe)
losses = model.history["val_loss"]
print(f"{len(losses)} épocas, la mejor {model.notes['best_epoch']}")
assert model.notes["best_epoch"] <= len(losses)

# %% made_from="3730bd3a"
from arsetlib import evaluation

first, last = study.season.first_day, study.season.last_day
STARTS = [*range(first, last, 20), last]  # días del año
valid = model.predictions(sides["validation"], STARTS)
by_start = evaluation.score_table(valid, "day_of_year", repeats=0)
start = int(by_start["crops_accuracy"].idxmax())
print(f"ventanas del día {start} al día {start + study.season.window_days}")
assert start in STARTS

# %% made_from="57a40343"
from arsetlib import figures, maps

year = int(sides["test"].column("year").max())
labels = here.labels()[year]
how = {"area": box.key, "year": year, "progress": here.bars}
made = maps.predict(model, table, start, runs / "maps", **how)
figures.show(
    figures.prediction_map(made, labels=labels, study=study),
    "Mapa de las clases predichas, de las etiquetas y de dónde difieren",
)

# %% made_from="4cf09e86"
on_map = maps.compare(made, labels)
print(f"{1 - on_map.accuracy:.1%} de {on_map.total:,.0f} píxeles difieren")
assert 0 < on_map.accuracy < 1

# %% [markdown] made_from="d6019d7d"
# El porcentaje impreso responde la primera pregunta. Ni el mapa ni las etiquetas aciertan siempre: también las etiquetas tienen errores. Así, una diferencia puede ser un error del mapa o de la etiqueta. Las secciones siguientes miran primero las etiquetas.
#
# ## 2. Etiquetas con errores
#
# También una etiqueta es una respuesta. La da un clasificador, como en la CDL, un agricultor, o una persona que miró una imagen. Algunas son erróneas. En el delta, el archivo de la verdad dice cuáles.
#
# :::{admonition} Predice
# :class: predict
# ¿Qué parte de las etiquetas del entrenamiento es errónea: el 1 %, el 5 % o el 20 %? ¿Y los errores son más frecuentes en los bordes de las parcelas o dentro?
# :::

# %% made_from="6d71d1b1"
import numpy as np
import rasterio
from rasterio.transform import rowcol

from arsetlib import copies  # de un archivo en un almacén de objetos

truth_files = {y: study.root / f"truth_{y}.tif" for y in study.years}
knows_truth = study.simulated and all(f.is_file() for f in truth_files.values())
print("La verdad", "se conoce." if knows_truth else "no se conoce aquí.")


def grown_at(x, y, years):
    """(N,) Códigos de etiqueta de lo que creció."""
    codes = np.empty(len(x), int)
    for one in np.unique(years):
        mine = years == one
        with rasterio.open(copies.fetched(truth_files[int(one)])) as f:
            row, col = np.array(rowcol(f.transform, x[mine], y[mine]), int)
            codes[mine] = f.read(1)[row, col]
    return codes


# %% made_from="9e0f774c"
rows = samples.Rows.of(table)
place = [rows.column(name) for name in ("x", "y", "year")]
codes = rows.column("label_code")
true_codes = grown_at(*place) if knows_truth else codes
given, grown = map(study.legend.classes_of, (codes, true_codes))
wrong = (given >= 0) & (grown >= 0) & (given != grown)

# %% made_from="22bf7860"
for side, of_side in sides.items() if knows_truth else ():
    print(
        f"{side}: {wrong[of_side.index].mean():.1%} de las etiquetas es errónea"
    )
if delta:
    assert 0.01 < wrong[sides["train"].index].mean() < 0.15

# %% made_from="b864f219"
from scipy import ndimage

if knows_truth:
    said = maps.read(labels.path, box)[0]
    true = maps.read(truth_files[year], box)[0]
    highest = ndimage.maximum_filter(true, 3)
    edge = highest != ndimage.minimum_filter(true, 3)
    for where, mask in (("en bordes de parcelas", edge), ("dentro", ~edge)):
        print(f"{where}: {(said != true)[mask].mean():.1%} es erróneo")
    if delta:
        assert (said != true)[edge].mean() > (said != true)[~edge].mean()

# %% [markdown] made_from="dc77a7d2"
# Los porcentajes impresos responden las dos preguntas. En el delta hay parcelas enteras con etiqueta errónea, y un conjunto tiene pocas parcelas. Es una razón por la que los tres conjuntos difieren.
#
# En un lugar real nadie sabe esto. Allí las dos celdas anteriores no imprimen nada, y desde aquí hasta la sección 4 la práctica toma las etiquetas de la tabla como verdad. Pero hay algo que se puede hacer en todas partes: cambiar algunas etiquetas *a propósito* por otras erróneas, y mirar si un método las encuentra. La biblioteca conoce tres tipos de errores:
#
# | tipo | qué pasa | como cuando |
# |---|---|---|
# | `random` | cualquier etiqueta recibe otra clase | alguien escribe mal un número |
# | `edges` | una etiqueta de un borde recibe la clase de la parcela de al lado | los contornos se dibujan fuera de su lugar |
# | `swap` | una etiqueta del cultivo más frecuente pasa a ser la del segundo | un experto confunde dos cultivos |

# %% made_from="d4e1e099"
from arsetlib import audit

RATE, KIND = 0.1, "random"
noisy = audit.spoiled(table, study, RATE, KIND, seed=1)
now = study.legend.classes_of(noisy["label_code"].to_numpy())
ours = now != given
wrong_now = (now >= 0) & (grown >= 0) & (now != grown)
print(
    f"{ours.mean():.1%} cambiadas por nosotros; {wrong_now.mean():.1%} erróneas ahora"
)
assert abs(ours[given >= 0].mean() - RATE) < 0.01

# %% made_from="4b1dbde9"
noisy_sides = samples.split(noisy, study, by=by, held_out=held_out)
train = noisy_sides["train"]
print(
    f"{len(train):,} filas de entrenamiento, {wrong_now[train.index].mean():.1%} erróneas"
)
for side, of_side in sides.items():
    assert np.array_equal(noisy_sides[side].index, of_side.index)

# %% [markdown] made_from="1c981ed3"
# La división no mira las etiquetas, y por eso los conjuntos tienen las mismas filas que antes; el `assert` lo verifica.
#
# ## 3. Tres formas de encontrarlos
#
# Las tres formas preguntan si una etiqueta concuerda con lo que se sabe de *otras* filas. Un modelo entrenado con una etiqueta errónea puede haberla memorizado. Por eso, en dos de las formas, a cada fila la juzga un modelo que no ha visto su bloque. Para ello, los bloques se reparten en *particiones* (*folds*). Cada una la predice un bosque entrenado con las demás.
#
# El **aprendizaje confiado** (*confident learning*; Northcutt y otros, 2021) solo necesita las probabilidades de este bosque. El umbral de cada clase es la probabilidad media que las filas con esa etiqueta tienen para su clase. Una etiqueta es sospechosa si otra clase alcanza su umbral. Si también lo alcanza la clase de la etiqueta, la otra debe además ser más probable.
#
# :::{admonition} Predice
# :class: predict
# De las etiquetas que el método llama erróneas, ¿cuántas lo son: casi todas, la mitad, o no más que en una lista al azar?
# :::

# %% made_from="be86b109"
folds = 3 if here.small else 4
judging = {"start": start, "folds": folds, "options": {"trees": 30}}
held = audit.out_of_fold(train, study, **judging)
said, label = held.predictions.probability, held.predictions.truth
print(f"{len(label):,} filas juzgadas, {sum(held.lost.values()):,} no")
assert len(label) + sum(held.lost.values()) == len(train)

# %% made_from="81a31f0c"
reach = np.full(K, np.inf)  # una clase sin etiquetas no se alcanza nunca
for k in np.unique(label):
    reach[k] = said[label == k, k].mean()
reached = np.where(said >= reach - 1e-6, said, -1)
by_hand = (reached.max(1) >= 0) & (reached.argmax(1) != label)
found = audit.confident(label, said)
print(
    f"{by_hand.sum()} etiquetas a mano, {found.wrong.sum()} con la biblioteca"
)
assert np.mean(by_hand != found.wrong) < 0.01

# %% made_from="1f3017a4"
bad = wrong_now[held.index]
rng = np.random.default_rng(1)
at_random = rng.permutation(by_hand)  # una lista de la misma longitud
for name, mask in (("aprendizaje confiado", by_hand), ("al azar", at_random)):
    hit = audit.Found.of(mask, bad)
    print(f"{name}: {hit.precision:.0%} de la lista es erróneo,", end=" ")
    print(f"{hit.recall:.0%} de lo erróneo está en la lista")
if delta:
    assert audit.Found.of(by_hand, bad).precision > 2 * bad.mean()

# %% [markdown] made_from="5385f8ff"
# El primer número de una línea es la *precisión* de la lista; el segundo, su *exhaustividad*. La precisión de la primera línea responde la pregunta. En el delta la lista es mucho mejor que una al azar, pero no es perfecta. Algunas etiquetas sospechosas son correctas, porque también el modelo se equivoca. Así que mira las etiquetas de una lista como esta, y no las borres.
#
# Las otras dos formas:
# - Un **mapa autoorganizado** es una cuadrícula de *neuronas*, cada una con una serie propia. El entrenamiento pone series parecidas en la misma neurona, sin usar etiquetas. Una etiqueta es sospechosa si es rara en su neurona (Santos y otros, 2021).
# - **Votos**: varios modelos, cada uno con su propio reparto en particiones, nombran la misma otra clase (Brodley y Friedl, 1999).
#
# `audit.run` usa las tres formas y escribe tablas y mapas; en una terminal es `arset audit`. Nunca borra una etiqueta.
#
# :::{admonition} Predice
# :class: predict
# Toma las etiquetas que al menos dos de las formas llaman erróneas, o las que llaman erróneas las tres. ¿Qué lista tiene mayor precisión, y cuál mayor exhaustividad?
# :::

# %% made_from="0274543d"
report = audit.run(train, study, runs / "audit", progress=here.bars, **judging)
print(report)
assert len(report) <= len(train)


# %% made_from="24439213"
def key(rows):
    """Un número para cada píxel y año."""
    pixel, years = rows.pixel, rows.year
    return np.asarray(pixel, np.int64) * 4096 + years


import pandas as pd

row_of = pd.Series(
    np.arange(len(rows)),
    rows.column("pixel").astype(np.int64) * 4096 + rows.column("year"),
)
of_report = row_of[key(report)].to_numpy()
wrong_judged = wrong_now[of_report]
print(
    f"{wrong_judged.sum()} de {len(wrong_judged):,} etiquetas juzgadas son erróneas"
)
assert row_of.index.is_unique

# %% made_from="50d58396"
lists = {
    "aprendizaje confiado": report.confident,
    "mapa autoorganizado": report.som,
    "votos": report.votes,
    "dos de tres": report.suspicious(2),
    "las tres": report.suspicious(3),
    "una lista al azar": np.random.default_rng(2).permutation(
        report.suspicious(2)
    ),
}

# %% made_from="82fb8a68"
scores = {
    name: vars(audit.Found.of(m, wrong_judged)) for name, m in lists.items()
}
ways = pd.DataFrame(scores).T[["suspected", "precision", "recall"]]
ways.insert(0, "suspicious", ways.pop("suspected").astype(int))
figures.show(
    ways.round(2).reset_index(names="lista"),
    "Etiquetas sospechosas según cada forma, con precisión y exhaustividad",
)
assert ways.loc["las tres", "recall"] <= ways.loc["dos de tres", "recall"]
if delta:
    precision = ways["precision"]
    assert precision["las tres"] > precision["dos de tres"]
    assert precision["dos de tres"] > 2 * precision["una lista al azar"]

# %% made_from="3a3df979"
of_ours = ours[of_report]
of_theirs = wrong_judged & ~of_ours
for name, mask in (("nuestros", of_ours), ("del delta", of_theirs)):
    part = report.suspicious(2)[mask].mean() if mask.any() else np.nan
    print(f"errores {name}: {mask.sum()}, encontrados: {part:.0%}")

# %% made_from="46811181"
of_key = dict(zip(study.legend.keys, names, strict=True))
worst = report.table(2).head(5).replace(of_key)
columns = ["area", "year", "label", "guess", "margin", "found_by"]
shown = worst[columns].rename(columns={"label": "etiqueta en la tabla"})
figures.show(shown.round(2), "Las etiquetas más sospechosas")

# %% [markdown] made_from="1edade2f"
# En el delta, las tres juntas tienen mayor precisión; dos de tres, mayor exhaustividad. Una lista más estricta es más corta, y sus etiquetas son erróneas más a menudo. Cuál te conviene depende de lo que harás con ella. Si una persona mira cada etiqueta, toma la más larga.
# Compara las dos líneas impresas sobre nuestros errores y los propios del delta. Las etiquetas de nuestros errores se sortearon. Entre los errores propios del delta hay parcelas enteras con una clase errónea, y entonces también la tienen los vecinos del píxel. Un error frecuente en una región parece correcto a un modelo que aprende de él. Ninguna forma encuentra un error que comparten *todas* las etiquetas de una clase.
#
# :::{admonition} Ejercicio 1
# :class: exercise
# Haz errores del tipo `edges`, y otros tantos al azar, y deja que el aprendizaje confiado busque unos y otros. ¿Es más fácil o más difícil que con errores al azar? Piensa en cómo se ve un píxel en un borde.
# :::

# %% tags=["hide-cell"] made_from="d11a69d3"
# Solución
for kind in ("random", "edges"):
    other = audit.spoiled(table, study, 0.05, kind, seed=2)
    changed = study.legend.classes_of(other["label_code"].to_numpy()) != given
    judged = samples.split(other, study, by=by, held_out=held_out)["train"]
    tried = audit.out_of_fold(judged, study, **judging)
    q = tried.predictions
    suspected = audit.confident(q.truth, q.probability).wrong
    hit = audit.Found.of(suspected, changed[tried.index])
    print(f"{kind}: {hit.recall:.0%} de nuestros errores, encontrados")
# Un píxel de borde contiene algo de la parcela de al lado: el modelo no está
# seguro, y la clase errónea no está lejos de lo que ve el satélite.

# %% [markdown] made_from="d13cab88"
# ## 4. Entrenar de nuevo sin ellas
#
# ¿Mejora un modelo si las etiquetas sospechosas se quitan del entrenamiento? Entrenamos bosques con cuatro grupos de filas, cada uno con tres semillas:
#
# - todas las filas, con sus errores;
# - sin las filas sospechosas;
# - sin igual número de filas sorteadas;
# - sin exactamente las filas erróneas, lo que solo permite una simulación.
#
# Cada bosque se prueba tres veces:
#
# - con etiquetas que tienen errores, como las del entrenamiento;
# - con estas mismas sin las que una auditoría de la *prueba* considera sospechosas;
# - con la verdad.
#
# Las tres usan las filas cuya verdad es una sola clase.
#
# :::{admonition} Predice
# :class: predict
# ¿Qué cambia en la prueba verdadera si se quitan las etiquetas sospechosas del entrenamiento: 10 puntos, unos pocos, o nada claro? ¿Y qué cambia si se quitan las etiquetas sospechosas de la *prueba*?
# :::

# %% made_from="e8ebe316"
cleaned = report.rows(train, least=2)
dropped = len(train) - len(cleaned)
by_chance = np.random.default_rng(3).permutation(len(train)) >= dropped

# %% made_from="32a5160e"
trainings = {
    "con errores": train,
    "sin sospechosas": cleaned,
    "sin algunas al azar": train.pick(by_chance),
    "sin erróneas": train.pick(~wrong_now[train.index]),
}
print({name: len(of) for name, of in trainings.items()})
assert len(trainings["sin algunas al azar"]) == len(cleaned)

# %% made_from="859f1625"
import pyarrow as pa

of = table.schema.get_field_index("label_code")
as_grown = pa.array(true_codes, pa.int16())
as_grown = table.set_column(of, table.schema.field(of), as_grown)
true_test = samples.split(as_grown, study, by=by, held_out=held_out)["test"]
assert np.array_equal(true_test.index, noisy_sides["test"].index)

# %% made_from="b64cb47a"
test = noisy_sides["test"]
checked = audit.out_of_fold(test, study, **judging)
on_test = checked.predictions
suspected = checked.index[
    audit.confident(on_test.truth, on_test.probability).wrong
]
print(
    f"{len(suspected)} de {len(test):,} etiquetas de la prueba son sospechosas"
)
assert np.isin(suspected, test.index).all()


# %% made_from="27da8724"
def three_scores(rows, seed):
    """Exactitud con la prueba tal cual, sin sospechosas y verdadera."""
    own = {"epochs": 1, "starts": start, "options": {"trees": 50}}
    both = {"train": rows, "validation": noisy_sides["validation"]}
    how = {"seed": seed, "missing": "allow", "progress": False}
    forest = training.fit("random_forest", both, study, **own, **how)
    on_test = forest.predictions(test, start)
    t = forest.predictions(true_test, start)  # the same windows
    true = pd.Series(t.truth, key(t)).reindex(key(on_test)).to_numpy()
    one = ~np.isnan(
        true
    )  # las filas con dos cultivos no tienen una sola verdad
    right = on_test.predicted == on_test.truth
    kept = one & ~np.isin(row_of[key(on_test)], suspected)
    true_score = (on_test.predicted == true)[one].mean()
    return right[one].mean(), right[kept].mean(), true_score


# %% made_from="9201e9f6"
forest_seeds = (1,) if here.small else (1, 2, 3)
tests = ["prueba con errores", "prueba con errores, limpia", "prueba verdadera"]
each = {
    name: np.array([three_scores(of, seed) for seed in forest_seeds])
    for name, of in trainings.items()
}  # (semillas, 3) de cada uno

# %% made_from="34f9717a"
mean = pd.DataFrame({n: v.mean(0) for n, v in each.items()}, tests).T
figures.show(
    mean.round(3).reset_index(names="filas de entrenamiento"),
    "Exactitud de bosques por filas de entrenamiento, en tres pruebas",
)
if delta:
    assert (
        mean["prueba con errores, limpia"] > mean["prueba con errores"]
    ).all()
    assert (mean["prueba verdadera"] > mean["prueba con errores"]).all()

# %% made_from="dabb9dfb"
gain = 100 * (mean - mean.loc["con errores"])["prueba verdadera"]
spread = 100 * max(np.ptp(v[:, 2]) for v in each.values())
seems = (
    100
    * (mean["prueba con errores, limpia"] - mean["prueba con errores"]).iloc[0]
)
print(gain.drop("con errores").round(1).to_string())

# %% made_from="c10609b0"
print(f"entre semillas: hasta {spread:.1f} puntos")
print(f"una prueba limpia parece dar {seems:.1f} puntos al mismo modelo")
if delta:
    assert abs(gain["sin sospechosas"]) < seems

# %% [markdown] made_from="7bb5a90f"
# Las primeras líneas son la ganancia real en puntos; por debajo de 0 es una pérdida. Compara la ganancia sin etiquetas sospechosas con dos números: la ganancia de quitar filas al azar y la diferencia entre semillas. Si no es claramente mayor que los dos, no se ganó nada. Cuánto se gana depende de los errores: `benchmarks/audit.py`, en el repositorio, lo mide con cinco semillas, para varios tipos y proporciones. La línea 'sin erróneas' muestra cuánto daría quitar exactamente las etiquetas erróneas. También puede quedar por debajo de 0: un bosque con menos filas es otro bosque, y también las semillas difieren.
#
# La última línea es la importante. Si se quitan las etiquetas sospechosas de la *prueba*, sube la puntuación del **mismo** modelo. La prueba perdió filas en las que modelo y etiqueta no coinciden. Ningún mapa mejoró. Por eso no se limpia una prueba con un modelo. En el delta la primera columna es menor que la tercera en cada entrenamiento. Una prueba cuyas etiquetas tienen errores da al modelo una puntuación más baja de la que merece.
#
# Para qué sirve una auditoría: muestra a una persona dónde mirar. Si allí se pueden *corregir* las etiquetas, ganan el entrenamiento y la prueba.
#
# ## 5. Conjuntos con una promesa
#
# «Soja, 55 %» no es una gran respuesta. La *predicción conforme* da a cada píxel un **conjunto** de clases, con una promesa: cerca del 90 % de los conjuntos contiene la etiqueta. Necesita filas con las que el modelo no se entrenó: la validación. En ellas mide cuán pequeña puede ser la probabilidad de la clase correcta. (Aquí la validación eligió también la mejor época y la fecha, así que la promesa se cumple solo aproximadamente. Con más datos, reserva algunos bloques solo para la calibración.)
#
# Desde aquí las etiquetas son otra vez las de la tabla, sin nuestros errores, y el modelo es el de la sección 1.

# %% made_from="614a407c"
ALPHA = 0.1  # parte de conjuntos que puede fallar
v = model.predictions(sides["validation"], start)
misfit = 1 - v.probability[np.arange(len(v)), v.truth]  # de la clase correcta


def limit_of(misfit):
    """La puntuación que 1 − ALPHA de las filas no supera."""
    place = int(np.ceil((len(misfit) + 1) * (1 - ALPHA)))
    return np.sort(misfit)[place - 1] if place <= len(misfit) else np.inf


# %% made_from="ed5a6e9c"
limit = limit_of(misfit)
sets = 1 - v.probability <= limit  # (filas, K)
print(
    f"una clase entra en el conjunto desde una probabilidad de {1 - limit:.3f}"
)
for many in (1, 2, 3):
    for i in np.flatnonzero(sets.sum(1) == many)[:1]:
        inside = [names[k] for k in np.flatnonzero(sets[i])]
        print(f"    etiqueta {names[v.truth[i]]}: {', '.join(inside)}")

from arsetlib import certainty

rule = certainty.Conformal.fit(v, ALPHA)
assert np.isclose(rule.limits[0], limit, atol=1e-6)

# %% [markdown] made_from="b1b342cd"
# Eso es todo: un límite. La promesa vale si las filas nuevas vienen de la misma fuente que las de la calibración. Entonces se podrían intercambiar sin que nadie lo notara (*intercambiabilidad*). Pruébalo: una mitad de la validación da el límite. En la otra mitad se cuenta cuántos conjuntos contienen la etiqueta. Esta proporción se llama *cobertura*.
#
# :::{admonition} Predice
# :class: predict
# Reparte la validación en mitades 200 veces: una vez píxel por píxel y otra en bloques enteros. ¿En qué caso está más cerca del 90 % la proporción de conjuntos que contienen la etiqueta?
# :::


# %% made_from="85445142"
def covered(calibrate):
    """Proporción de las otras filas cuyo conjunto contiene la etiqueta."""
    return (misfit[~calibrate] <= limit_of(misfit[calibrate])).mean()


# %% made_from="202bc9d3"
blocks, rng = np.unique(v.block), np.random.default_rng(4)
deals = {"píxeles": [], "bloques": []}
for _ in range(200):
    half = rng.permutation(len(v)) < len(v) // 2
    deals["píxeles"].append(covered(half))
    half = np.isin(v.block, rng.permutation(blocks)[: len(blocks) // 2])
    deals["bloques"].append(covered(half) if half.any() else np.nan)
if len(blocks) < 2:
    print("Un solo bloque: no se puede dividir, y la columna queda vacía.")

# %% made_from="ceaa5511"
deals = pd.DataFrame(deals)
shown = deals.describe().loc[["mean", "std", "min", "max"]]
figures.show(
    shown.round(3).reset_index(names="cobertura"),
    "Cobertura en 200 repartos de la validación, por píxeles y por bloques",
)
if delta:
    assert abs(deals["píxeles"].mean() - (1 - ALPHA)) < 0.02
    assert deals["bloques"].std() > 2 * deals["píxeles"].std()

# %% [markdown] made_from="ae298352"
# Píxel por píxel está más cerca del 90 %, porque en las dos mitades hay píxeles de las mismas parcelas, y se parecen. No es lo que necesitas. Quieres saber algo de *otras* parcelas. Con bloques enteros, la cobertura puede quedar lejos del 90 %, como muestran `min` y `max`. Cuenta el número de bloques, no el de píxeles. Si alguien te muestra una cobertura, pregunta cómo se repartieron las filas.
#
# Una promesa en promedio puede esconder algo más. La tabla siguiente da la cobertura de cada clase de la etiqueta. Su última columna es el número medio de clases en un conjunto:

# %% made_from="d30a55df"
t = model.predictions(sides["test"], start)
total = certainty.coverage(rule, t)
by_class = certainty.coverage(rule, t, by="class")
columns = ["samples", "coverage", "coverage_low", "coverage_high", "mean_size"]
figures.show(
    by_class[columns].round(2).reset_index(),
    "Cobertura en la prueba por clase de la etiqueta, con intervalos del 95 %",
)

# %% made_from="6af67302"
print(f"todas las clases: {total['coverage'].iloc[0]:.1%}")
enough = by_class[by_class["samples"] >= 50]["coverage"]
if delta:
    assert enough.max() - enough.min() > 0.1

# %% made_from="4e1f22a3"
each_class = certainty.Conformal.fit(v, ALPHA, by_class=True)
strict = certainty.coverage(each_class, t, by="class")
both = pd.DataFrame({
    "calibrado con": each_class.counts,
    "un límite": by_class["coverage"].reindex(names),
    "un límite por clase": strict["coverage"].reindex(names),
    "tamaño, un límite": by_class["mean_size"].reindex(names),
    "tamaño, un límite por clase": strict["mean_size"].reindex(names),
}, names)  # fmt: skip
figures.show(
    both.round(2).reset_index(names="clase"),
    "Cobertura y tamaño de los conjuntos con un límite, y con uno por clase",
)
assert sum(each_class.counts) == len(v)

# %% [markdown] made_from="fec97e52"
# La promesa es para *todas* las filas. Una clase rara y difícil puede fallar mucho más a menudo que las demás, y el total no lo muestra. Un límite por clase promete más. Necesita bastantes filas de cada clase. Con pocas filas, o con filas de pocas parcelas, el límite es incierto. La cobertura en otras parcelas puede ser entonces demasiado baja o demasiado alta. Las dos últimas columnas muestran el tamaño medio de los conjuntos. Un límite propio puede hacer los conjuntos de una clase mayores o menores.
#
# ## 6. Dónde se rompe la promesa
#
# El límite se encontró para una fecha, un año y los bloques de la validación. ¿Qué pasa si cambia uno de ellos?
#
# :::{admonition} Predice
# :class: predict
# El límite de una fecha se usa para todas las ventanas de la temporada, en el año de la prueba. ¿Sigue la cobertura cerca del 90 %? ¿Y dónde difiere más: entre fechas, entre años o entre bloques?
# :::

# %% made_from="b1153853"
season = model.predictions(sides["test"], STARTS)
dates = certainty.coverage(rule, season, by="last")
shown = dates[["coverage", "coverage_low", "coverage_high"]]
titles = ["cobertura", "intervalo, inferior", "intervalo, superior"]
shown = shown.set_axis(titles, axis=1)
shown["prometido"] = 1 - ALPHA
fig = figures.lines(
    shown, "Cobertura a lo largo de la temporada", "último día de la ventana",
    "proporción de conjuntos", study=study,
)  # fmt: skip
figures.show(
    fig,
    "Proporción de conjuntos que contienen la etiqueta, por fecha, y lo prometido",
)

# %% made_from="56be942d"
lowest, highest = dates["coverage"].min(), dates["coverage"].max()
print(f"de {lowest:.2f} a {highest:.2f}")
assert 0 <= lowest <= highest <= 1

# %% made_from="51466d36"
area_of, year_of = rows.column("area").astype(str), rows.column("year")
in_test = np.isin(rows.column("block"), np.unique(test.column("block")))
in_test &= np.isin(area_of, np.unique(test.column("area").astype(str)))
same_place = {
    str(y): model.predictions(rows.pick(in_test & (year_of == y)), start)
    for y in study.years
}
by_year = certainty.across(rule, same_place)
figures.show(
    by_year.drop(columns="holds").round(2).reset_index(names="año"),
    "Cobertura en los bloques de la prueba, en cada año del estudio",
)
assert len(by_year) == len(study.years)

# %% made_from="68135c29"
by_block = certainty.coverage(rule, t, by="block")["coverage"]
differences = {
    "fechas": highest - lowest,
    "años": np.ptp(by_year["coverage"]),
    "bloques": np.ptp(by_block),
}
print("mayor diferencia entre", {k: round(float(x), 2) for k, x in differences.items()})  # fmt: skip

# %% made_from="aaba03bb"
print(
    f"{(by_block < 1 - ALPHA).sum()} de {len(by_block)} bloques quedan por debajo"
)
if delta:
    assert max(differences, key=differences.get) == "bloques"

# %% [markdown] made_from="27806123"
# La figura y el intervalo impreso debajo responden la primera pregunta. Donde la línea y su intervalo quedan por debajo de lo prometido, el límite de la única fecha no vale. Un límite para cada fecha puede arreglarlo, si cada fecha tiene su propia calibración.
# La línea impresa responde la segunda: en el delta, lo que más difiere son los bloques. En algunos casi cada conjunto contiene la etiqueta; en otros, muchos menos. Cada bloque tiene pocas parcelas, y una parcela distinta de todas las del entrenamiento puede fallar entera. Además hay más bloques que fechas o años, y cada uno tiene menos píxeles: las dos cosas aumentan la mayor diferencia. Una promesa para una región no lo es para tu parcela.
#
# En un mapa, un conjunto con una clase es una respuesta. Uno con varias, o con ninguna, significa *indeterminado*:

# %% made_from="6abb15d7"
set_file, set_counts = certainty.set_layer(made, rule)
several, none = set_counts["several"], set_counts["none"]
unsaid = set_counts["cannot_say"] / sum(set_counts[k] for k in [*study.legend.keys, "cannot_say"])  # fmt: skip
print(f"indeterminado: {unsaid:.0%} de los píxeles")
print(f"    {several:,} tienen varias clases, {none:,} ninguna")
assert several + none == set_counts["cannot_say"]

# %% tags=["hide-input"] made_from="08735354"
from types import SimpleNamespace

from matplotlib.colors import to_rgb

doubt = certainty.legend_with_doubt(study.legend)
colours = np.array([to_rgb(c.colour) for c in doubt.classes] + [(1, 1, 1)])
with rasterio.open(copies.fetched(set_file)) as f:
    sure_class, metres = f.read(1, masked=True), f.transform.a
pictures = {
    "cada píxel, una clase": made.read(),
    "solo donde el conjunto tiene una": sure_class,
}
fig = figures.panels(
    {n: colours[m.astype(int).filled(K + 1)] for n, m in pictures.items()},
    classes=SimpleNamespace(
        colours=[c.colour for c in doubt.classes], titles=doubt.names
    ),
    metres=metres, study=study,
)  # fmt: skip
figures.show(fig, "Mapa de clases, y el mismo mapa con 'indeterminado' en gris")

# %% made_from="a1fa6db5"
q = same_place[str(year)]
q = q.pick(q.area == box.key)
one_class = rule.sets(q.probability).sum(1) == 1
right = q.predicted == q.truth
for where, mask in (("una clase", one_class), ("indeterminado", ~one_class)):
    if mask.any():
        print(f"acierta donde el mapa dice '{where}': {right[mask].mean():.2f}")
if delta:
    assert right[one_class].mean() > right[~one_class].mean()

# %% [markdown] made_from="11264045"
# En el delta, el mapa acierta más a menudo donde nombra una clase. Un usuario puede planear visitas a los píxeles grises, o dejarlos fuera, si el mapa dice cuántos son.
#
# :::{admonition} Ejercicio 2
# :class: exercise
# ¿Cuántos píxeles del recuadro quedan sin respuesta si prometes el 80 %, el 90 % o el 95 %? Antes de ejecutarlo: ¿en qué sentido va la parte *indeterminada*?
# :::

# %% tags=["hide-cell"] made_from="913fc28a"
# Solución
for alpha in (0.2, 0.1, 0.05):
    tried = certainty.Conformal.fit(v, alpha)
    held_by = certainty.coverage(tried, q).iloc[0]
    print(
        f"prometido {1 - alpha:.0%}: cobertura {held_by['coverage']:.0%},",
        end=" ",
    )
    print(f"indeterminado {held_by['cannot_say']:.0%}")
# Más promesa pide conjuntos mayores: menos de ellos tienen una sola clase.
# Con poca promesa puede haber conjuntos vacíos: ninguna clase basta.

# %% [markdown] made_from="8e5c3977"
# ## 7. Donde el modelo nunca aprendió a responder
#
# Una red responde cualquier pregunta, también sobre lo que nunca ha visto. El *área de aplicabilidad* (Meyer y Pebesma, 2021) pregunta antes: ¿cuán lejos está una ventana nueva de la ventana más cercana del entrenamiento? La distancia se divide por la distancia media entre ventanas del entrenamiento: es la *disimilitud*. También el umbral sale del entrenamiento. Para cada una de sus ventanas se mide la disimilitud con la ventana más cercana de *otro* bloque. El umbral es el mayor de estos valores que no es un valor atípico. (Los autores dan más peso a una característica si el modelo la usa más. Aquí todas pesan lo mismo.)
#
# :::{admonition} Predice
# :class: predict
# Ordena las ventanas de la prueba por su disimilitud y divídelas en cinco partes iguales. ¿Cómo cambia la exactitud de la parte más cercana a la más lejana? ¿Y qué pasa con la proporción dentro del umbral si alguien olvida restar un desplazamiento de los valores de las imágenes?
# :::


# %% made_from="fb3c0533"
def windows_of(rows):
    """Filas con clase, y sus ventanas como medias de banda y mes."""
    known = study.legend.classes_of(rows.column("label_code")) >= 0
    rows = rows.pick(known)
    x, pairs = certainty.features(rows, study, model.scaler, start)
    return rows, x, pairs


learnt, x_train, pairs = windows_of(sides["train"])
near = certainty.Applicability.fit(x_train, learnt.column("block"))
print(f"{len(x_train):,} ventanas; dentro hasta {near.threshold:.2f}")
assert x_train.shape == (len(learnt), len(pairs))

# %% made_from="79a50861"
new, x_new, _ = windows_of(sides["test"])
far = near.dissimilarity(x_new)
t_new = model.predictions(new, start)

# %% made_from="6b4d0399"
parts = certainty.accuracy_by_dissimilarity(far, t_new, near.threshold)
figures.show(
    parts.round(2).reset_index(names="parte"),
    "Exactitud dentro y fuera, y por quintas partes, de cerca a lejos",
)
print(f"{(far <= near.threshold).mean():.1%} de las ventanas está dentro")
if delta:
    assert parts.loc["1", "accuracy"] > parts.loc["5", "accuracy"]

# %% made_from="d47bd5da"
counts_of = np.bincount(t_new.truth, minlength=K)
within = {}
for k in np.flatnonzero(counts_of >= min(50, counts_of.max())):
    of_k = t_new.truth == k
    own = certainty.accuracy_by_dissimilarity(far[of_k], t_new.pick(of_k), 1.0)
    within[names[k]] = own["accuracy"].reindex(["1", "5"])
within = pd.DataFrame(within).T.set_axis(
    ["quinta más cercana", "quinta más lejana"], axis=1
)
figures.show(
    within.round(2).reset_index(names="clase"),
    "Parte acertada en la quinta parte más cercana y más lejana de cada clase",
)
falls = within["quinta más lejana"] < within["quinta más cercana"]
print(f"menor en la quinta más lejana: {falls.sum()} de {len(within)} clases")
assert len(within) > 0

# %% [markdown] made_from="ce03c9df"
# En el delta la exactitud es mayor en la quinta parte más cercana que en la más lejana, pero no tiene por qué bajar en cada paso entre las dos. La primera tabla mezcla distancia y clase: una clase con pocas ventanas de entrenamiento queda lejos, y además es difícil. La segunda tabla compara quintas partes *dentro* de una clase de la etiqueta. La última línea dice en cuántas clases la exactitud es menor lejos; en las demás, la distancia sola no explica nada. Ahora compara las dos primeras filas de la primera tabla: las ventanas de fuera no tienen por qué fallar más a menudo. Fuera significa solo que no hay cerca ninguna ventana del entrenamiento, y por eso una puntuación medida dentro no dice nada de ellas. Y dentro no es una garantía: dos cultivos pueden parecerse, y entonces no ayuda que una ventana esté cerca.
#
# ¿Qué bandas se han movido, y cuándo? La *deriva* es la diferencia de las medias de prueba y entrenamiento, en desviaciones estándar del entrenamiento. Por debajo de 0, la banda es más oscura en la prueba. Las parcelas y el tiempo difieren, así que ningún valor es exactamente 0. Un valor de 1 es un desplazamiento tan grande como la dispersión del entrenamiento:

# %% made_from="ea0e3036"
moved = certainty.drift(x_train, x_new, pairs)
figures.show(
    moved.round(2).reset_index(),
    "Deriva de cada banda en cada mes de la ventana, desviaciones estándar",
)
band, month = moved.abs().stack().idxmax()
print(f"la mayor: {band}, mes {month}: {moved.loc[band, month]:.2f}")
assert moved.shape == (len(study.channels), len(pairs) // len(study.channels))

# %% made_from="9962c4e2"
far_file, inside_share = certainty.applicability_layer(
    near, table, study, model.scaler, start, runs / "far.tif",
    area=box.key, year=year,
)  # fmt: skip
print(f"un número para el mapa: {inside_share:.1%} del recuadro está dentro")
assert 0 <= inside_share <= 1

# %% tags=["hide-input"] made_from="0ea74d66"
with rasterio.open(copies.fetched(far_file)) as f:
    distance = f.read(1, masked=True) / float(f.tags()["scale"])
    metres = f.transform.a
from matplotlib import colormaps

scaled = (distance / (2 * near.threshold)).clip(0, 1)
known = maps.labels_on(made, labels)  # -1: ninguna clase
differs = (made.read() != known) & (known >= 0)
pictures = {
    "disimilitud: más oscuro, más lejos; azul: sin datos": scaled,
    "oscuro: difiere de la etiqueta; azul: sin etiqueta": np.ma.masked_where(
        known < 0, differs.filled(False).astype(float)
    ),
}
greys = colormaps["Greys"].with_extremes(bad="#9cc3e6")
pictures = {n: greys(m)[..., :3] for n, m in pictures.items()}
fig = figures.panels(pictures, metres=metres, study=study)
figures.show(fig, "Mapa de la disimilitud del recuadro, y de las diferencias")

# %% [markdown] made_from="b623ba66"
# Compara las dos imágenes. Un píxel puede estar cerca del entrenamiento y aun así diferir de su etiqueta, por ejemplo en el borde de dos parcelas. Así que la disimilitud no sustituye una prueba.
#
# Ahora un error que muchos han cometido. Desde enero de 2022 los valores de Sentinel-2 tienen un desplazamiento de 1000. Supón que un programa lo olvida: cada valor queda 1000 demasiado alto, y nada más cambia.


# %% made_from="b60af05b"
def with_offset(rows, offset):
    """Exactitud, probabilidad media y proporción dentro con valores muy altos."""
    is_band = np.isin(
        study.channels, study.bands
    )  # los índices quedan como están
    shift = np.where(is_band, offset, 0) / np.asarray(model.scaler.std, "f4")
    loader = model.loader(rows, start)
    right, sure = [], []
    for inputs, truth in loader.arrays():
        moved = inputs["series"] + shift * inputs["seen"][..., None]
        said = model.predict(inputs | {"series": moved.astype("f4")})
        right.append(said.argmax(1) == truth.argmax(1))
        sure.append(said.max(1))
    months = len(pairs) // len(shift)
    far = near.dissimilarity(x_new + np.tile(shift, months))
    inside = (far <= near.threshold).mean()
    return np.concatenate(right).mean(), np.concatenate(sure).mean(), inside


# %% made_from="fd05a285"
forgotten = pd.DataFrame(
    {offset: with_offset(new, offset) for offset in (0, 200, 1000)},
    ["exactitud", "probabilidad media", "proporción dentro"],
).T
figures.show(
    forgotten.round(3).reset_index(names="desplazamiento"),
    "Exactitud, probabilidad media y proporción dentro, si se olvida un desplazamiento",
)
if delta:
    assert forgotten.loc[1000, "exactitud"] < forgotten.loc[0, "exactitud"]
    assert forgotten.loc[1000, "proporción dentro"] < 0.1

# %% [markdown] made_from="add63e7f"
# En el delta la exactitud es menor en la quinta parte más lejana que en la más cercana, como muestra la primera tabla de esta sección. Con el desplazamiento olvidado baja la exactitud, y baja también la proporción dentro del umbral. Esta proporción **no necesita etiquetas**: de datos nuevos nadie tiene etiquetas, así que la exactitud no se puede medir, pero este número sí. Compara en la tabla la probabilidad media con la exactitud. No es una señal segura: un modelo puede estar seguro de lo que nunca ha visto. Por eso calcula la proporción dentro del umbral para cada año y lugar nuevos antes de mirar su mapa.
#
# :::{admonition} Un buen momento para una pausa
# :class: tip
# Aquí termina la primera mitad. Deja el cuaderno abierto durante la pausa. Si lo cerraste, ejecuta la sección 1 y sigue con la sección 8: la segunda mitad no necesita nada más.
# :::

# %% [markdown] made_from="f79ec948"
# ## 8. Cuántas hectáreas
#
# Al final, la práctica 3 estimó superficies con una muestra que tomó sola. Aquí haces lo que hace un equipo: planear la muestra, sortearla, hacer que una persona la etiquete y estimar. Para esto solo hace falta la sección 1.
#
# En el recuadro hay pocas parcelas. Por eso, en el delta primero se predice un mapa mayor, a partir de las escenas: todas las áreas y el terreno entre ellas. Una parte de este terreno estuvo en el entrenamiento, en otro año. Aquí no importa: una muestra aleatoria corrige cualquier mapa.

# %% made_from="541c98f7"
import numpy as np
import pandas as pd

from arsetlib import wording
from arsetlib.study import Area

wide = made
if delta:
    corners = np.array([a.bounds for a in study.areas])
    bounds = (*corners[:, :2].min(0).tolist(), *corners[:, 2:].max(0).tolist())
    whole = Area(
        "whole", {"en": "Whole delta", "es": "Todo el delta"}, bounds, box.crs
    )
    how = {"area": whole, "year": year, "study": study, "progress": here.bars}
    wide = maps.predict(model, here.scenes(), start, runs / "whole", **how)
print(wide)

# %% made_from="36dcc1be"
truth_file = study.root / f"truth_{year}.tif"
knows_truth = study.simulated and truth_file.is_file()
expert = maps.labels_on(wide, truth_file if knows_truth else labels)
mapped = maps.ClassMap.open(wide.path())

# %% made_from="0081ecfd"
print(
    "el experto conoce la verdad" if knows_truth else "la verdad: las etiquetas"
)
print(
    f"{(expert >= 0).sum():,} de {mapped.sizes.sum():,} píxeles tienen una clase"
)
assert expert.shape == wide.read().shape

# %% [markdown] made_from="c536587a"
# `expert` tiene la clase que encontraría una visita a cada píxel. Los píxeles con dos cultivos en el año no tienen una sola clase. Donde nadie conoce la verdad, la práctica toma las etiquetas; entonces todo lo que sigue trata de las etiquetas, con sus errores.
#
# :::{admonition} Predice
# :class: predict
# Cuentas los píxeles de cada clase en el mapa. ¿La superficie de la clase más rara sale demasiado grande o demasiado pequeña?
# :::

# %% made_from="9a7277f5"
hectare = mapped.hectares  # de un píxel
known = np.bincount(expert[expert >= 0], minlength=K)
true_ha = known / known.sum() * mapped.sizes.sum() * hectare
counted = pd.DataFrame(
    {"recuento": mapped.sizes * hectare, "verdad": true_ha}, names
)
counted["recuento menos verdad"] = counted["recuento"] - counted["verdad"]
figures.show(
    counted.round(1).rename_axis("clase").reset_index(),
    "Hectáreas de cada clase: contadas en el mapa y verdaderas",
)

# %% made_from="245fc50a"
rare = counted[counted["verdad"] > 0].nsmallest(1, "verdad")
off = rare["recuento menos verdad"]
print("la más rara, recuento menos verdad, ha:", off.round(1).to_dict())
if delta:
    assert (off < 0).all()

# %% [markdown] made_from="bc57bca2"
# En el delta, la superficie de la clase más rara sale demasiado pequeña. Una razón: el modelo elige pocas veces una clase de la que ha visto pocas parcelas. La tabla muestra cuáles de las otras superficies son demasiado grandes y cuáles demasiado pequeñas. Un recuento no tiene intervalo de confianza, y mirar el mapa no muestra este error. Una muestra, sí.
#
# ### Planear
#
# ¿Cuántos píxeles hay que etiquetar? Depende del intervalo que quieras. `plan_sample` responde antes de que nadie haya etiquetado nada. Necesita una suposición (`users`) de cuántas veces acierta el mapa donde muestra una clase. `half_width` es la mitad del ancho del intervalo, en hectáreas.
#
# :::{admonition} Predice
# :class: predict
# Una muestra de cierto tamaño da un intervalo de ± 10 % de la superficie de un cultivo. ¿Por cuánto se multiplican los píxeles necesarios para ± 5 %: por 1.4, por dos o por cuatro?
# :::

# %% made_from="2b4b583e"
sizes = pd.Series(mapped.sizes, study.legend.keys)
crops = set(evaluation.single_crops(study.legend)) & set(sizes[sizes > 0].index)
target = sizes[sorted(crops)].idxmax() if crops else sizes.idxmax()
name = names[study.legend.keys.index(target)]
print(f"{name}: {sizes[target] * hectare:,.0f} ha en el mapa")
assert sizes[target] > 0

# %% made_from="0437ebf7"
size = min(400, max(20, int(sizes.sum()) // 10))
least = min(30, size // K, int(sizes[sizes > 0].min()))  # de cada clase
goal = {"target": target, "users": 0.8, "least": least}
needed = {}
for percent in (10, 5):
    wanted = percent / 100 * sizes[target] * hectare
    for kind in ("random", "proportional"):
        tried_plan = maps.plan_sample(
            mapped, allocation=kind, half_width=wanted, **goal
        )
        needed.setdefault(kind, {})[f"± {percent} %"] = tried_plan.size
needed = pd.DataFrame(needed)
print("píxeles que etiquetar:")
print(wording.shown(needed).to_string())

# %% made_from="c809406f"
times = needed.iloc[1] / needed.iloc[0]
print(
    "la mitad del intervalo multiplica los píxeles por",
    times.round(1).to_dict(),
)
assert (times >= 1).all()
if delta:
    assert times.between(3, 4).all()

# %% [markdown] made_from="da0786f6"
# La última línea responde la pregunta. En un mapa muy grande se multiplican por cuatro: el error baja con la raíz cuadrada de la muestra. En un mapa pequeño, por menos, porque la muestra llega a ser una gran parte del mapa. Una muestra *proporcional* toma una parte fija de cada clase del mapa. Si el mapa es bueno, necesita menos píxeles que una aleatoria simple. Las clases del mapa son entonces los *estratos* de la muestra.
#
# ### Sortear y etiquetar
#
# `draw_sample` sortea píxeles al azar y escribe al lado la probabilidad de que saliera cada uno (su *probabilidad de inclusión*). `save` los escribe para una hoja de cálculo y para un SIG (*GIS*) como QGIS, con un protocolo para la persona que etiqueta.

# %% made_from="2f301586"
plan = maps.plan_sample(mapped, size, least=least)
sample = maps.draw_sample(mapped, plan, seed=1)
shutil.rmtree(runs / "visit", ignore_errors=True)  # si no, se protegen
print(plan)
print(", ".join(file.name for file in sample.save(runs / "visit")))
stands_for = (1 / sample.table["inclusion_probability"]).sum()
assert np.isclose(stands_for, sizes.sum())

# %% made_from="ed708b27"
readme = (runs / "visit" / "README.txt").read_text(encoding="utf-8")
print(*readme.split("\n\n")[:4], sep="\n\n")  # después, las clases
columns = ["id", "lon", "lat", "inclusion_probability", "label"]
print(sample.table[columns].head(4).round(4).to_string(index=False))
assert (sample.table["label"] == "").all()

# %% [markdown] made_from="894d7ee7"
# La regla más importante del README: *etiqueta el terreno, no el mapa*. Por eso la página para etiquetar no muestra lo que dice el mapa. Muestra las imágenes de cada píxel y su serie, no necesita red y guarda las etiquetas mientras trabajas. La celda siguiente hace una página con unos pocos puntos del recuadro; `arset label` hace la de una muestra entera. Abre el archivo en un navegador; en Colab o Databricks, primero descarga el archivo.

# %% made_from="83de5489"
on_box = maps.ClassMap.open(made.path())
few = maps.plan_sample(on_box, 8, allocation="random")
few = maps.draw_sample(on_box, few, seed=2)
page = runs / "label.html"
page.unlink(missing_ok=True)
views = maps.views_of_table(table, few.table, year=year, dates=8)
figures.labelling_page(few, views, page)
print(f"{page}: {page.stat().st_size / 1e3:.0f} kB")
assert len(views.days) == len(few.table) == 8

# %% [markdown] made_from="539fbb84"
# En la práctica, el experto etiqueta la muestra en un momento:


# %% made_from="387899c9"
def pixels_at(file, points):
    """(N,) filas y columnas de un ráster en puntos con x e y."""
    with rasterio.open(copies.fetched(file)) as raster:
        return np.array(rowcol(raster.transform, points["x"], points["y"]), int)


row, column = pixels_at(wide.path(), sample.table)
keys = np.array([*study.legend.keys, ""])  # la última, -1: ninguna clase sola
filled = sample.table.assign(label=keys[expert[row, column]])
filled.to_csv(runs / "visit" / "sample.csv", index=False)
visited = maps.MapSample.load(runs / "visit")
found = visited.table["label"].replace("", "sin una sola clase").value_counts()
print(wording.shown(found).to_string())
assert np.array_equal(visited.table["label"], filled["label"])

# %% made_from="a24bfae7"
result = maps.sample_areas(visited, mapped)
estimated, powered = result.areas.table, result.powered
print(
    f"{result.labelled} etiquetas; exactitud del mapa {result.areas.accuracy:.3f}",
    end="",
)
print(f" ({result.areas.accuracy_low:.3f} a {result.areas.accuracy_high:.3f})")

# %% made_from="17f9a1d1"
figures.show(
    figures.areas(result.areas, study=study),
    "Proporción de cada clase: contada en el mapa y estimada con la muestra",
)
assert result.labelled + len(result.unlabelled) == plan.size

# %% made_from="49cbd715"
compared = counted[["recuento", "verdad"]].copy()
for name, found in {
    "muestra": estimated,
    "con probabilidades": powered,
}.items():
    compared[name] = found["area"]
    low, high = found["area_low"], found["area_high"]
    compared[f"{name}, 95 %"] = [
        f"{a:.1f} a {b:.1f}" for a, b in zip(low, high, strict=True)
    ]
    inside = compared["verdad"].between(low, high)
    print(f"{name}: {inside.sum()} de {K} intervalos contienen la verdad")

# %% made_from="d0d16e93"
figures.show(
    compared.round(1).rename_axis("clase").reset_index(),
    "Hectáreas: contadas, verdaderas y estimadas con intervalos del 95 %",
)
off = (
    compared[["recuento", "muestra"]]
    .sub(compared["verdad"], axis=0)
    .abs()
    .sum()
)
print("hectáreas lejos de la verdad:", wording.shown(off.round(1)).to_dict())

# %% tags=["hide-input"] made_from="a81b2c0e"
width = pd.DataFrame(
    {
        name: found["area_high"] - found["area_low"]
        for name, found in {
            "solo etiquetas": estimated,
            "con probabilidades": powered,
        }.items()
    }
)
print(wording.shown(width.round(1)).to_string())

# %% made_from="b131dcab"
ratio = width["con probabilidades"].sum() / width["solo etiquetas"].sum()
print(f"con probabilidades: {ratio:.2f} veces el ancho")
assert (width >= 0).all(axis=None)
if delta:
    assert off["muestra"] < off["recuento"]
    assert ratio < 1

# %% [markdown] made_from="9346b7f6"
# En el delta, esta muestra se acerca más a la verdad que el recuento de todos los píxeles, aunque tiene pocos. Aun así, una muestra puede salir mal por azar, y entonces fallan varios intervalos a la vez, porque las proporciones suman uno. El ejercicio 3 sortea otras. La columna *con probabilidades* es la *inferencia potenciada por predicciones* (*prediction-powered inference*; Angelopoulos y otros, 2023). Añade las probabilidades del modelo en todos los píxeles y corrige su sesgo con las mismas etiquetas. El cociente compara los anchos: si es menor que 1, sus intervalos son más estrechos. Cuanto mejores son las probabilidades, más estrechos son. Si las probabilidades son malas, el método les da poco peso. La sección 9 comprueba si estos intervalos contienen la verdad.
#
# :::{admonition} Ejercicio 3
# :class: exercise
# Sortea la muestra otra vez con las semillas 2, 3 y 4. ¿Cuántas veces contienen los intervalos la superficie verdadera? ¿Está la estimación siempre más cerca de la verdad que el recuento?
# :::

# %% tags=["hide-cell"] made_from="325c0a8d"
# Solución
for seed in (2, 3, 4):
    again = maps.draw_sample(mapped, plan, seed=seed)
    row, column = pixels_at(wide.path(), again.table)
    again.table["label"] = keys[expert[row, column]]
    found = maps.sample_areas(again, mapped).areas.table
    hold = compared["verdad"].between(found["area_low"], found["area_high"])
    away = (found["area"] - compared["verdad"]).abs().sum()
    print(f"semilla {seed}: {hold.sum()} de {K} la contienen, a {away:.1f} ha")
# Una muestra puede tener mala suerte: una sola no muestra si el 95 % se cumple.

# %% [markdown] made_from="ab0e19ea"
# ## 9. ¿El 95 % es el 95 %?
#
# Un intervalo del 95 % promete algo: si sorteas la muestra una y otra vez, unos 95 de cada 100 intervalos contienen la superficie verdadera. En la Tierra nadie puede comprobarlo, porque nadie conoce la superficie verdadera. En el delta, tú puedes: sortea 500 muestras y cuenta.
#
# Se comparan tres intervalos. El *normal* es la estimación ± 1.96 errores estándar, como en muchos artículos. (El error estándar es cuánto varía la estimación de una muestra a otra.) `evaluation.limits` añade un píxel que no se sorteó, porque una clase rara puede estar donde no se sorteó ninguno. El tercero es el intervalo *con probabilidades* de la sección 8.
#
# :::{admonition} Predice
# :class: predict
# Muestras de 100 píxeles. ¿En qué clases contiene el intervalo normal la verdad menos veces de lo que dice: en las frecuentes o en las raras?
# :::

# %% made_from="43441b02"
there = (expert >= 0) & ~np.ma.getmaskarray(wide.read())
truth = expert[there].astype(int)  # (N,)
predicted = wide.read().data[there].astype(int)  # (N,)
strata = np.bincount(predicted, minlength=K)
weight = strata / strata.sum()
true_share = np.bincount(truth, minlength=K) / len(truth)
members = [np.flatnonzero(predicted == k) for k in range(K)]
print(
    f"{len(truth):,} píxeles; aciertos del mapa: {(truth == predicted).mean():.1%}"
)
assert np.isclose(weight.sum(), 1)


# %% made_from="c6e39bf0"
def draw(size, least=8, repeats=500):
    """(R, n) píxeles: tantos al azar en cada clase del mapa, R veces."""
    rng = np.random.default_rng(study.seed)
    least = min(least, size // K)
    n = evaluation.allocation("proportional", size, strata, least=least)
    n = np.minimum(n, strata)
    parts = [
        rng.permuted(np.tile(m, (repeats, 1)), axis=1)[:, :k]
        for m, k in zip(members, n, strict=True)
    ]
    return np.concatenate(parts, axis=1)


# %% made_from="27095f30"
def estimate(rows, labelled):
    """Proporciones de las clases y sus errores estándar, (R, K) cada uno."""
    share, variance = np.zeros((2, len(rows), K))
    for k in np.unique(predicted[rows[0]]):  # igual en cada repetición
        hit = np.eye(K)[labelled[:, predicted[rows[0]] == k]]  # (R, n, K)
        n, p = hit.shape[1], hit.mean(1)
        share += weight[k] * p
        left = 1 - n / strata[k]  # de la clase quedó fuera
        variance += weight[k] ** 2 * left * p * (1 - p) / max(n - 1, 1)
    return share, np.sqrt(variance)


# %% made_from="cb2705a5"
per_sample = 100 if delta else min(100, len(truth) // 2)
drawn = draw(per_sample)
share, error = estimate(drawn, truth[drawn])
first = np.zeros((K, K, K), int)
np.add.at(first, (predicted[drawn[0]], truth[drawn[0]], predicted[drawn[0]]), 1)
library = evaluation.survey_areas(first, strata, strata, names).table
print(f"{len(drawn)} muestras de {drawn.shape[1]} píxeles")
assert np.allclose(share[0], library["share"])
assert np.allclose(error[0], library["share_error"])


# %% [markdown] made_from="ba855f34"
# La función hecha a mano coincide con la de la biblioteca. Ahora los intervalos, y con qué frecuencia contiene cada uno la proporción verdadera:


# %% made_from="59d3cc4d"
def unseen(rows):
    """La mayor parte del mapa que representaría un píxel más."""
    n = np.bincount(predicted[rows[0]], minlength=K)
    return np.divide(
        weight * (1 - n / strata.clip(1)), n, where=n > 0, out=0 * weight
    ).max()


# %% made_from="a48a5be2"
def held(low, high):
    """(K,) con qué frecuencia los intervalos contienen la verdad, de 1."""
    return ((low <= true_share) & (true_share <= high)).mean(0)


# %% made_from="9dd47b03"
probability = np.ma.getdata(wide.read("probability"))[:, there].T
probability = probability / probability.sum(1, keepdims=True)
everywhere = evaluation.ProbabilitySums.of(probability, predicted, K)
print(f"{probability.shape[0]:,} píxeles con {K} probabilidades")

# %% made_from="f38398f9"
ends = {
    "normal": (share - 1.96 * error, share + 1.96 * error),
    "1 sin ver": evaluation.limits(share, error, unseen(drawn)),
}
found = [
    evaluation.powered_areas(
        truth[r], probability[r], predicted[r], everywhere, names
    )
    for r in drawn
]
ends["con probabilidades"] = tuple(
    np.stack([f[f"share_{end}"] for f in found]) for end in ("low", "high")
)

# %% made_from="d26f0864"
coverage = pd.DataFrame({name: held(*e) for name, e in ends.items()}, names)
coverage.insert(0, "proporción", true_share)
coverage = coverage[coverage["proporción"] > 0].sort_values("proporción")
fig = figures.bars(
    100 * coverage.drop(columns="proporción"), f"{per_sample} etiquetas: intervalos que contienen la verdad",
    "porcentaje de 500 muestras", study=study, mode="group", text=".0f",
)  # fmt: skip
figures.show(fig, "Intervalos del 95 % que contienen la verdad, por clase")

# %% made_from="4689dacc"
overall = coverage.drop(columns="proporción").agg(["mean", "min"])
print(wording.shown((100 * overall).round(1)).to_string())

# %% made_from="7f8d6faf"
widths = {name: 100 * (e[1] - e[0]).mean() for name, e in ends.items()}
print(
    "ancho medio, % del mapa:",
    wording.shown(pd.Series(widths).round(1)).to_dict(),
)
assert (coverage["1 sin ver"] >= coverage["normal"] - 0.02).all()
if delta:
    assert widths["1 sin ver"] > widths["normal"]
    assert coverage["normal"].idxmin() in coverage.index[:3]
    assert coverage["1 sin ver"].mean() > 0.93

# %% [markdown] made_from="05927503"
# En el delta, donde peor queda el intervalo normal es en una de las clases más raras. Muchas muestras no encuentran ninguno de sus píxeles en los estratos de las otras clases. Su intervalo es entonces demasiado estrecho. Con un píxel sin ver, la media de las clases es de un 95 % o más, y los intervalos son más anchos. Mira también la fila `min`: una media no lo promete para cada clase. La figura muestra además los intervalos con probabilidades, y la última línea, todos los anchos. Usa los más estrechos solo si contienen la verdad tantas veces como los otros.
#
# ### Si el experto se equivoca
#
# Hasta aquí el experto nunca se equivocó. Ahora una parte de las etiquetas nombra otra clase al azar.
#
# :::{admonition} Predice
# :class: predict
# El 10 % de las etiquetas es erróneo. ¿Qué intervalos contienen la verdad más veces: los de 100 etiquetas o los de 400?
# :::


# %% made_from="db18e3f6"
def with_noise(size, percent):
    """Cobertura media si algunas etiquetas nombran otra clase."""
    rows = draw(size)
    rng = np.random.default_rng([study.seed, percent])
    other = (truth[rows] + rng.integers(1, K, rows.shape)) % K
    wrong = rng.random(rows.shape) < percent / 100
    share, error = estimate(rows, np.where(wrong, other, truth[rows]))
    low, high = evaluation.limits(share, error, unseen(rows))
    return 100 * held(low, high)[true_share > 0].mean()


# %% made_from="3f373822"
percents = [0, 2, 5, 10, 20]
sizes_tried = [per_sample, min(4 * per_sample, len(truth))]
noise = pd.DataFrame(
    {
        f"{n} etiquetas": [with_noise(n, p) for p in percents]
        for n in sizes_tried
    },
    pd.Index(percents, name="porcentaje de etiquetas erróneas"),
)

# %% made_from="45a50d3f"
fig = figures.lines(
    noise, "Intervalos del 95 % con etiquetas erróneas", noise.index.name,
    "porcentaje que contiene la verdad", study=study,
)  # fmt: skip
figures.show(fig, "Cobertura según el porcentaje de etiquetas erróneas")
print(noise.round(1).to_string())
if delta:
    assert noise.loc[10].iloc[1] < noise.loc[10].iloc[0] < noise.loc[0].iloc[0]

# %% [markdown] made_from="17634d74"
# En el delta, los de 100 etiquetas contienen la verdad más veces. En promedio, las dos muestras se equivocan en la misma cantidad. Pero la mayor tiene el intervalo más estrecho, así que deja fuera la verdad más veces. Un intervalo cubre el azar del sorteo. No sabe nada de las etiquetas erróneas. Por eso una segunda persona debe etiquetar una parte de la muestra, y el informe debe decir cuántas veces coinciden las dos.
#
# :::{admonition} Ejercicio 4
# :class: exercise
# Los errores reales no son al azar: una persona puede tomar un cultivo por otro. Haz que uno de cada cinco píxeles del cultivo más frecuente lleve la etiqueta del segundo. ¿En qué clases baja la cobertura?
# :::

# %% tags=["hide-cell"] made_from="84b03dd8"
# Solución
of_crops = [study.legend.keys.index(k) for k in sorted(crops)] or [0]
order = sorted(of_crops, key=lambda k: -true_share[k])
one, two = order[0], (order * 2)[1]
drawn = draw(per_sample)
mixed = np.random.default_rng(1).random(drawn.shape) < 0.2
labelled = np.where((truth[drawn] == one) & mixed, two, truth[drawn])
low, high = evaluation.limits(*estimate(drawn, labelled), unseen(drawn))
change = pd.Series(held(low, high) - held(*ends["1 sin ver"]), names)
print(f"{names[one]} con la etiqueta {names[two]}:")
print((100 * change).round(1).to_string())
# Solo en estas dos. Los píxeles de la muestra son los mismos, y las etiquetas de
# las otras clases también. La media de todas las clases lo ocultaría.

# %% [markdown] made_from="7baf574b"
# ## 10. Por parcela
#
# Un agricultor siembra un cultivo en una parcela, pero el mapa decide en cada píxel. Si conoces los contornos, pueden votar todos los píxeles de la parcela. Si no, puedes dividir la imagen en *segmentos*: píxeles vecinos con series parecidas.
#
# Los contornos del delta se conocen. Los segmentos vienen de un *compuesto*: una imagen mediana por cada 30 días de la ventana. Un compuesto necesita todos los píxeles de un área. Así que en otro lugar puede haber contornos, segmentos, los dos o ninguno.
#
# :::{admonition} Predice
# :class: predict
# Cada parcela recibe la clase de la mayoría de sus píxeles. ¿Con qué se gana más exactitud: con contornos verdaderos o con segmentos? ¿Puede un mapa por parcela ser peor que el mapa de píxeles?
# :::

# %% made_from="95350262"
from arsetlib import parcels, simulate

outlines = {}
if knows_truth:
    outlines["contornos verdaderos"] = simulate.outlines(study.root)
how = {"study": study, "start": start, "year": year, "progress": here.bars}
if delta:
    scenes = here.scenes()
    image = parcels.composite(scenes, runs / "composite.tif", area=whole, **how)
elif box.every == 1:
    image = parcels.composite(
        table, runs / "composite.tif", area=box.key, **how
    )

# %% made_from="03a8bf31"
if delta or box.every == 1:
    outlines["segmentos"] = parcels.segment(image, progress=here.bars)
found = {name: len(shapes) for name, shapes in outlines.items()}
print(found or "ni contornos ni un área densa")

# %% made_from="dfbc61ad"
by_parcel, gains = {}, {}
for name, shapes in outlines.items():
    by_parcel[name] = parcels.by_parcel(wide, shapes, progress=here.bars)
    gains[name] = by_parcel[name].gain(truth_file if knows_truth else labels)
    print(f"{name}: {gains[name]}")
    assert gains[name].pixels.total == gains[name].parcels.total

# %% tags=["hide-input"] made_from="6df8b874"
if gains:
    parcel_scores = pd.DataFrame(
        {
            name: {
                "parcelas": len(outlines[name]),
                "por píxel": g.pixels.accuracy,
                "por parcela": g.parcels.accuracy,
                "ganancia": g.accuracy,
                "ganancia de macro-F1": g.macro_f1,
            }
            for name, g in gains.items()
        }
    ).T
    figures.show(
        parcel_scores.astype({"parcelas": int})
        .round(3)
        .rename_axis("contornos")
        .reset_index(),
        "Exactitud por píxel y por parcela, con dos tipos de contornos",
    )
if delta:
    assert gains["contornos verdaderos"].accuracy > gains["segmentos"].accuracy

# %% tags=["hide-input"] made_from="7f75d4fa"
from types import SimpleNamespace

ground = {"por píxel": wide.read().filled(K).astype(int)}
for name, one in by_parcel.items():
    raster = one.raster(runs / f"{name.replace(' ', '_')}.tif")
    with rasterio.open(copies.fetched(raster)) as src:
        ground[name] = src.read(1).clip(0, K).astype(int)
ground["verdad" if knows_truth else "etiquetas"] = expert
shown_as = SimpleNamespace(
    colours=study.legend.colours, titles=study.legend.names
)
colours = [*study.legend.colours, "#ffffff"]
colours = np.array(
    [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in colours]
)
pictures = {
    t: colours[classes].astype(np.uint8) for t, classes in ground.items()
}
metres = 100 * mapped.hectares**0.5  # side of a pixel
fig = figures.panels(pictures, study=study, classes=shown_as, metres=metres)
figures.show(
    fig,
    "Clases por píxel, por parcela con cada tipo de contornos, y "
    + ("verdaderas" if knows_truth else "etiquetadas"),
)
assert all(p.shape == (*expert.shape, 3) for p in pictures.values())

# %% [markdown] made_from="8bd11de2"
# En el delta se gana más con los contornos verdaderos. Compara las ganancias y no las exactitudes: los contornos de parcelas dejan fuera el terreno entre ellas, así que las dos filas cuentan otros píxeles. La ganancia de los segmentos responde la segunda pregunta. Por debajo de 0, el mapa por segmentos es peor que el de píxeles. La ganancia no es segura, porque un segmento no es una parcela. Dos parcelas de un cultivo pueden ser un solo segmento, y en él desaparecen caminos y bosques estrechos si solo tienen pocos píxeles de ancho. La macro-F1 puede bajar mientras la exactitud sube, si el voto quita una clase rara. Los píxeles blancos de la última imagen no tienen una sola clase. Mide la ganancia antes de dar a alguien un mapa así, con etiquetas que no entrenaron el modelo.
#
# El mapa por parcela es una tabla de contornos. `save` escribe GeoParquet, que leen QGIS, DuckDB y Spark:

# %% made_from="3d26d1e9"
if by_parcel:
    chosen = by_parcel[max(gains, key=lambda name: gains[name].accuracy)]
    file = chosen.save(runs / "parcels.parquet")
    columns = ["parcel", "class", "share", "margin", "hectares"]
    unsure = chosen.table.sort_values("margin")[columns].head(5).round(2)
    of_key = dict(zip(study.legend.keys, names, strict=True))
    unsure["class"] = unsure["class"].replace(of_key)
    print(f"{file.name}: {file.stat().st_size / 1e3:.0f} kB")
    figures.show(
        unsure.astype(str),
        "Las cinco parcelas con el voto más reñido",
    )
    assert len(chosen.table) == len(chosen)

# %% [markdown] made_from="c281952a"
# La tabla también dice cuán seguro fue cada voto. `share` es la parte de los píxeles de la parcela que votaron por su clase. `margin` es esa parte menos la de la segunda clase. Una parcela con un `margin` pequeño es un buen lugar para visitar: puede tener dos cultivos.
#
# ## 11. Qué etiquetar después
#
# Puedes pagar 200 etiquetas. ¿Cuáles? El *aprendizaje activo* pide aquellas de las que el modelo está menos seguro. Una medida sencilla es el *margen*: la probabilidad de la clase más probable menos la de la segunda. A mano son dos líneas. (`uncertainty` de la biblioteca es 1 menos el margen.)


# %% made_from="6d7de30a"
from arsetlib import active


def by_margin(probability, count):
    """Posiciones de las muestras con el margen más pequeño."""
    two = np.sort(probability, axis=1)[:, -2:]
    return np.argsort(two[:, 1] - two[:, 0])[:count]


count = min(50, len(probability))
mine = by_margin(probability, count)
theirs = active.choose(probability, count, method="margin")
for name, chosen in (("a mano", mine), ("biblioteca", theirs)):
    margins = np.sort(active.uncertainty(probability[chosen]))
    print(f"{name}: incertidumbre de {margins[0]:.3f} a {margins[-1]:.3f}")
assert np.allclose(active.uncertainty(probability[mine]).min(), margins[0])

# %% [markdown] made_from="3de39e01"
# ¿Sirve de algo? En el delta se puede responder, con la verdad como experto. Entrena con 20 etiquetas al azar, pide 30 más y entrena otra vez, hasta 200. La *reserva* de la que se eligen etiquetas es el entrenamiento; la prueba da la puntuación. Todos los métodos empiezan con las mismas etiquetas, y aprende un bosque pequeño.
#
# - `margin`: los márgenes más pequeños.
# - `k_centre`: muestras lejos unas de otras y de todo lo etiquetado.
# - `cluster`: de muchas con un margen pequeño, una de cada uno de varios grupos.
#
# :::{admonition} Predice
# :class: predict
# ¿Qué manera de elegir es mejor que las etiquetas al azar: las tres, algunas o ninguna? ¿Qué puede salir mal si pides solo aquello de lo que el modelo está menos seguro?
# :::


# %% made_from="0e3e73c8"
from arsetlib import pixels


def codes_of(rows):
    """Códigos de etiqueta de filas; los verdaderos si se conocen."""
    codes, when = rows.column("label_code").copy(), rows.column("year")
    points = {n: rows.column(n) for n in ("x", "y")}
    for y in np.unique(when) if knows_truth else []:
        file = study.root / f"truth_{y}.tif"
        row, column = pixels_at(file, points)
        with rasterio.open(copies.fetched(file)) as raster:
            grown = raster.read(1)[row, column]
        codes = np.where(when == y, grown, codes)
    return codes.astype(int)


# %% tags=["hide-input"] made_from="83f71eb8"
def known_samples(rows, codes=None):
    """Ventanas de filas desde el día `start`, con lo que creció; y filas."""
    codes = codes_of(rows) if codes is None else codes
    days = samples.start_days(rows.column("year"), start)
    how = {"choose": "median", "fill": "linear"}
    w = samples.window(pixels.ragged(rows.read()), study.season, days, **how)
    classes = study.legend.classes_of(codes)
    classes = samples.apply_vegetation_rule(classes, w.vegetation, study.legend)
    use = (classes >= 0) & (w.images > 0)
    x = w.x[use].reshape(use.sum(), -1) / 10_000
    return active.KnownSamples(x, classes[use].astype(int)), rows.pick(use)


# %% made_from="a406ee35"
pool, pool_rows = known_samples(sides["train"])
exam, exam_rows = known_samples(sides["test"])
counts = pd.DataFrame(
    {
        n: np.bincount(one.truth, minlength=K)
        for n, one in {"reserva": pool, "prueba": exam}.items()
    },
    names,
)
print(f"{len(pool):,} muestras en la reserva, {len(exam):,} en la prueba")
print(f"{pool.features.shape[1]} valores por muestra\n{counts.to_string()}")
assert len(exam)
assert np.isfinite(pool.features).all()

# %% made_from="5a91c5f9"
from sklearn.ensemble import RandomForestClassifier


def forest(x, y, seed):
    return RandomForestClassifier(40, random_state=seed, n_jobs=1).fit(x, y)


methods = ["random", "margin", "k_centre", "cluster"]
budget = min(200, len(pool))

# %% made_from="11dbad8f"
curves = active.learning_curve(
    pool, exam, forest, classes=K, methods=methods, draws=(0, 1, 2, 3),
    start=min(20, budget), step=30, budget=budget, progress=here.bars,
)  # fmt: skip
assert set(curves["method"]) == set(methods)

# %% made_from="cce4233d"
curve_mean = curves.pivot_table(
    index="labels", columns="method", values="macro_f1"
)
fig = figures.lines(
    curve_mean[methods], "Lo que vale una etiqueta", "etiquetas", "macro-F1, prueba",
    study=study,
)  # fmt: skip
figures.show(fig, "Macro-F1 según el número de etiquetas, con cuatro métodos")

# %% made_from="a9579528"
by_seed = curves[curves["labels"] > curves["labels"].min()]
by_seed = by_seed.pivot_table(index="seed", columns="method", values="macro_f1")
over = 100 * by_seed[methods[1:]].sub(by_seed["random"], axis=0)
print("puntos de macro-F1 sobre el azar, una fila por semilla:")
print(wording.shown(over.round(1)).to_string())

# %% made_from="906593f4"
better = [m for m in methods[1:] if over[m].mean() > 0]
clear = [m for m in methods[1:] if (over[m] > 0).all()]
print("mejores que el azar en promedio:", ", ".join(better) or "ninguno")
print("mejores con cada semilla:", ", ".join(clear) or "ninguno")
assert set(clear) <= set(better)
assert len(over) == curves["seed"].nunique()

# %% [markdown] tags=["answer"] made_from="ba20394c"
# Las dos últimas líneas responden la pregunta en esta reserva. Un método que solo está en la primera de ellas fue mejor en promedio y no fue mejor con alguna semilla, así que una sola ejecución no demuestra nada. Los de la segunda tienen más apoyo. Pero las semillas son pocas: con suerte, un método es mejor con cada una y aun así no es mejor que el azar. Lo que puede salir mal: el modelo también duda donde una imagen es mala o donde se juntan dos parcelas. Entonces los márgenes más pequeños enseñan poco de una clase, o están uno al lado del otro en una parcela. `cluster` y `k_centre` piden muestras distintas. En otros cinco deltas simulados `cluster` fue el mejor en cuatro, y `margin` apenas mejor que el azar (mira `help(active.choose)`). Así que el mejor depende del lugar; conserva las etiquetas al azar como comparación.
#
# ### Lugares en el mapa
#
# `next_places` elige píxeles de un mapa. Con una distancia mínima (`apart`, en metros) no quedan todos en una parcela. Pasa el puntero por un anillo para ver qué dice el mapa allí. `save` escribe un archivo para un teléfono o un SIG, con una columna vacía para la etiqueta.

# %% made_from="fd116327"
apart = 150 if delta else 0
nearby = active.next_places(
    wide, 12 if delta else 3, method="margin", apart=apart, progress=False
)
of_key = dict(zip(study.legend.keys, names, strict=True))
listed = nearby.table.round(3).replace({"predicted": of_key})
print(nearby.save(runs / "next.csv").name)
figures.show(
    listed[["place", "predicted", "probability", "margin", "label_code"]].head(
        6
    ),
    "Lugares que visitar, por orden de preferencia",
)
distance = np.hypot(*(np.subtract.outer(v, v) for v in (nearby.x, nearby.y)))
assert (distance[~np.eye(len(nearby), dtype=bool)] >= apart).all()

# %% tags=["hide-input"] made_from="580281a5"
fig = figures.prediction_map(wide, study=study, title="Lugares que visitar")
words = [
    f"{p}: {k}, margen {m}"
    for p, k, m in listed[["place", "predicted", "margin"]].to_numpy()
]
for panel, ring in ((1, figures.INK), (2, figures.ACCENT)):
    fig.add_scatter(
        x=nearby.x / 1000, y=nearby.y / 1000, mode="markers", text=words,
        hovertemplate="%{text}<extra></extra>", showlegend=False, row=1,
        col=panel, marker={"size": 12, "symbol": "circle-open",
                           "color": ring, "line": {"width": 3}},
    )  # fmt: skip
figures.show(fig, "Mapa de clases y de márgenes con los lugares que visitar")
assert len(fig.data) >= 2

# %% [markdown] made_from="b4920ab5"
# ### Etiquetar con un clic
#
# Ahora las etiquetas vuelven al entrenamiento. Para eso se proponen lugares en el mapa de un área de *entrenamiento*. La página de etiquetado los muestra sobre un mapa del terreno. Haz clic en un punto para abrirlo y dale una clase. Haz clic en otra parte para añadir un lugar propio. Luego descarga el CSV, ponlo donde dice la última línea y ejecuta la celda siguiente. Sin archivo, como cuando se construyó este libro, responde un experto: la verdad, o las etiquetas donde no se conoce.

# %% made_from="56def8fa"
area_of_train = sides["train"].column("area").astype(str)
home = next((a.key for a in study.areas if a.key in area_of_train), box.key)
then = int(sides["train"].column("year")[area_of_train == home].max())
how = {"area": home, "year": then, "progress": here.bars}
of_home = maps.predict(model, table, start, runs / "home", **how)
asked = active.next_places(
    of_home, 40 if delta else 12, apart=60 if delta else 0, progress=False
).sample()

# %% made_from="3c9e8bd9"
click = here.work / "lab4_click.html"
click.unlink(missing_ok=True)
views = maps.views_of_table(table, asked.table, year=then, dates=8)
figures.labelling_page(asked, views, click)
saved = click.with_name("lab4_click.csv")
print(f"abre {click}\nel CSV va en {saved}")
assert asked.table["inclusion_probability"].isna().all()

# %% made_from="7a8c9e98"
if saved.is_file():
    answered, who = maps.MapSample.load(saved), "una persona etiquetó"
    answered = maps.MapSample(answered.table, asked.design)
else:  # nadie ha hecho clic
    file = study.root / f"truth_{then}.tif"
    visit = maps.labels_on(
        of_home, file if knows_truth else here.labels()[then]
    )
    row, column = pixels_at(of_home.path(), asked.table)
    visited_as = asked.table.assign(label=keys[visit[row, column]])
    answered, who = (
        maps.MapSample(visited_as, asked.design),
        "el experto etiquetó",
    )
print(f"{who} {(answered.table['label'] != '').sum()} lugares")

# %% made_from="f04244c0"
taught = active.labelled_rows(sides["train"], study, answered, then)
codes_taught = taught.rows.column("label_code").astype(int)
learned, _ = known_samples(taught.rows, codes_taught)
print(
    f"{len(taught)} etiquetas vuelven; {len(taught.missing)} lugares no están en el entrenamiento"
)
print(f"{len(taught.without_code)} tienen una clase sin código")
assert len(learned) <= len(taught) <= len(answered.table)

# %% made_from="6230264c"
order = np.random.default_rng(1).permutation(len(pool))
base, more = order[:20], order[20 : 20 + len(learned)]
added = {
    "20 etiquetas al azar": (pool.features[:0], pool.truth[:0]),
    "y los lugares etiquetados": (learned.features, learned.truth),
    "y otras tantas al azar": (pool.features[more], pool.truth[more]),
}  # las tres comparten 20 etiquetas
for name, (x_more, y_more) in added.items():
    x_all = np.concatenate([pool.features[base], x_more])
    y_all = np.concatenate([pool.truth[base], y_more])
    answers = forest(x_all, y_all, 1).predict(exam.features)
    f1 = evaluation.Confusion.of(exam.truth, answers, K).macro_f1
    print(f"{name}: {f1:.3f}")

# %% made_from="9aa98cc3"
second = active.next_places(of_home, 3, known=answered.table, progress=False)
try:
    maps.sample_areas(answered, maps.ClassMap.open(of_home.path()))
except maps.MapError as error:
    print("superficies rechazadas:", error)
pairs_of = [np.column_stack([p.x, p.y]) for p in (second, asked.table)]
assert not (pairs_of[0][:, None] == pairs_of[1]).all(2).any()

# %% [markdown] made_from="24bb7ea1"
# El suelo desnudo no tiene código de etiqueta: lo decide la regla de vegetación de la leyenda, y una respuesta así no puede volver. También los lugares que no son del entrenamiento se dejan fuera. Están en bloques de la validación o de la prueba, y filas que entrenaron un modelo no pueden probarlo. Compara las tres puntuaciones, pero recuerda las curvas de arriba: una ronda con una semilla no demuestra nada. La última línea muestra que las superficies se rechazan. Un lugar propuesto o elegido no tiene probabilidad de inclusión: puede entrenar un modelo, pero no estimar hectáreas. Si añades lugares así a una muestra aleatoria, `arset areas` los deja fuera y los nombra. La ronda siguiente no propone otra vez los mismos lugares (`known`; en una terminal, la opción `--known` de `arset next`).
#
# :::{admonition} Predice
# :class: predict
# Has etiquetado los 400 píxeles con los márgenes más pequeños. ¿Puedes usarlos para la exactitud del mapa, o para hectáreas?
# :::

# %% made_from="42b8458d"
unsure = by_margin(probability, min(400, len(truth) // 2))
right = truth == predicted
print(f"aciertos en todo el mapa: {right.mean():.1%}")
print(f"aciertos entre los elegidos: {right[unsure].mean():.1%}")

# %% made_from="f6866be0"
chosen_share = np.bincount(truth[unsure], minlength=K) / len(unsure)
bias = pd.DataFrame({"elegidos": chosen_share, "mapa": true_share}, names)
print(wording.shown((100 * bias).round(1)).to_string())
if delta:
    assert right[unsure].mean() < right.mean() - 0.1

# %% [markdown] made_from="06be1124"
# No. El modelo se equivoca más donde duda, y allí las clases tienen otras proporciones. Ningún peso lo corrige, porque un píxel seguro no podía salir elegido. Las etiquetas para entrenar se pueden elegir; las etiquetas para exactitud y superficies se deben sortear. Guárdalas en dos archivos.
#
# ## 12. Pocas etiquetas
#
# ¿Y si solo hay cinco etiquetas por clase? Las redes de otras personas han leído todas las imágenes de un año y dan una lista corta de números por píxel, un *vector* (una representación vectorial, *embedding*): AlphaEarth y Tessera publican vectores así de grandes partes de la Tierra. Un modelo pequeño puede aprender de ellos. Se hacen con las imágenes de un año entero, así que antes de la cosecha no hay ninguno de este año.
#
# :::{admonition} Datos simulados
# :class: simulated
# Los vectores del delta no vienen de una red. Son una mezcla aleatoria de la reflectancia verdadera del suelo en doce meses, sin nubes, con un poco de ruido. Las curvas muestran cómo comparar vectores con bandas. No muestran qué dan los vectores reales.
# :::
#
# :::{admonition} Predice
# :class: predict
# Un bosque aprende de las bandas de una ventana, de los vectores o de ambos. ¿Con cuántas etiquetas ayudan más los vectores: 5, 20 o 100 por clase? ¿Son «ambos» siempre lo mejor?
# :::

# %% made_from="e7d57bc7"
from arsetlib import embeddings, seeds

rasters = {}  # los tuyos: {2021: "A_2021.tif", …}, de AlphaEarth o Tessera
needs = sorted(
    {int(y) for r in (pool_rows, exam_rows) for y in r.column("year")}
)
for y in needs if knows_truth else []:
    rasters[y] = runs / f"vectors_{y}.tif"
    simulate.embeddings(study.root, rasters[y], y)
vectors_known = set(needs) <= set(rasters)
print(
    {y: f.name for y, f in rasters.items()} or "no hay vectores de este lugar"
)


# %% tags=["hide-input"] made_from="6df8fec8"
def vectors_of(rows):
    """(N, 64) los vectores de filas; 0 donde no hay ninguno."""
    when, found, none = rows.column("year"), None, 0
    for y in np.unique(when):
        x, z = (rows.column(n)[when == y] for n in ("x", "y"))
        meta = rows.meta
        v = embeddings.read(
            rasters[y], x, z, crs=meta.crs, side=meta.resolution
        )
        found = (
            np.zeros((len(when), v.shape[1]), "f4") if found is None else found
        )
        none += int(np.isnan(v).any(1).sum())
        found[when == y] = np.nan_to_num(v)
    if none:
        print(f"{none:,} de {len(when):,} filas no tienen vector: se usa 0")
    return found


# %% made_from="a8e3e136"
inputs = {"bandas": (pool.features, exam.features)}
if vectors_known:
    vectors = [vectors_of(rows) for rows in (pool_rows, exam_rows)]
    inputs["vectores"] = tuple(vectors)
    inputs["ambos"] = tuple(
        np.concatenate([side.features, w], 1)
        for side, w in zip((pool, exam), vectors, strict=True)
    )
for name, (x, z) in inputs.items():
    print(f"{name}: {x.shape[1]} valores por muestra")
    assert (len(x), len(z)) == (len(pool), len(exam))


# %% made_from="c9fa69f8"
def score_few(name, count, seed):
    """Macro-F1 en la prueba de un bosque con `count` etiquetas por clase, o todas."""
    order = seeds.generator(seed, "few", count).permutation(len(pool))
    mine = [order[pool.truth[order] == k][:count] for k in range(K)]
    mine = np.concatenate(mine)
    x, z = inputs[name]
    answers = forest(x[mine], pool.truth[mine], seed).predict(z)
    return evaluation.Confusion.of(exam.truth, answers, K).macro_f1


# %% made_from="1fc975dc"
counts = [5, 20, 100]
made_with = {
    name: [[score_few(name, n, s) for s in range(4)] for n in counts]
    for name in inputs
}

# %% made_from="3524591c"
few_mean = pd.DataFrame(
    {name: np.mean(v, 1) for name, v in made_with.items()},
    pd.Index(counts, name="etiquetas por clase"),
)
few_spread = pd.DataFrame(
    {name: np.ptp(v, 1) for name, v in made_with.items()}, few_mean.index
)
for what, values in {
    "media": few_mean,
    "diferencia entre semillas": few_spread,
}.items():
    print(f"{what}:\n{values.round(3).to_string()}")

# %% made_from="1ec43dfb"
fig = figures.lines(
    few_mean, "Un bosque con pocas etiquetas", "etiquetas por clase", "macro-F1, prueba",
    study=study,
)  # fmt: skip
figures.show(
    fig, "Macro-F1 según etiquetas por clase: bandas, vectores y ambos"
)

# %% made_from="cedeaea5"
few_gain = few_mean.drop(columns="bandas").sub(few_mean["bandas"], axis=0)
for name in few_gain:
    print(
        f"{name}: más puntos con {few_gain[name].idxmax()} etiquetas por clase"
    )
    print((100 * few_gain[name]).round(1).to_dict())
if vectors_known:
    print("el mejor de los tres:", few_mean.idxmax(axis=1).to_dict())
if delta:
    assert (few_gain.loc[5] > few_gain.loc[100]).all()

# %% [markdown] made_from="91f2c526"
# Las líneas impresas responden las dos preguntas: cuánto gana cada uno y cuál de los tres es el mejor. En el delta, los vectores y «ambos» ganan más con cinco etiquetas por clase que con 100. Compara la ganancia con la diferencia entre semillas antes de creerla. Con tan pocas etiquetas, el sorteo puede decidir más que los vectores. Los vectores conocen todos los meses y no tienen nubes. Aun así, la ganancia puede ser pequeña. Una razón: un vector del año no dice si un cultivo se ve en la fecha del mapa.
#
# Con vectores reales usa estas llamadas: `embeddings.as_sensor` hace una tabla con ellos, y `pixels.join` la pone al lado de las bandas. `[channels]` en el archivo de estudio la da entonces a cualquier modelo de la práctica 3. Entonces haz la pregunta otra vez, con etiquetas de tu lugar.
#
# ## Lo que has aprendido
#
# - Las etiquetas tienen errores. Algunos se pueden encontrar, y quien los encuentra debe decir cuántos de los hallazgos son correctos.
# - Un conjunto de clases con una promesa la cumple solo con datos como los de su calibración.
# - Un modelo responde en todas partes, también donde nunca se le entrenó para hacerlo. La proporción dentro del área de aplicabilidad no necesita etiquetas: calcula esa proporción para cada año y lugar nuevos.
# - Contar píxeles da una superficie sesgada y sin intervalo. Una muestra aleatoria corrige cualquier mapa.
# - Un intervalo del 95 % se acerca a su 95 % si cuenta lo que no se vio y si las etiquetas son correctas. Una muestra mayor no corrige etiquetas erróneas.
# - Un mapa por parcela puede ser mejor o peor que uno por píxel. Mídelo.
# - Las etiquetas para entrenar se pueden elegir. Las etiquetas para exactitud y hectáreas se deben sortear.
# - Con pocas etiquetas, el sorteo puede decidir más que el método. Repite con varias semillas.
# - Compara cada método con uno sencillo: el recuento, el píxel solo, la elección al azar, las bandas solas.
#
# ## ¿Y si…?
#
# - **¿… nadie puede visitar las parcelas?** `arset sample` y `arset label`: una persona interpreta imágenes en una página que no necesita red. Una segunda persona etiqueta otra vez una parte.
# - **¿… el intervalo es demasiado ancho?** Planea una muestra mayor para esa clase (`target`, `half_width`), o haz un mapa mejor. Entonces los intervalos de las superficies con probabilidades son más estrechos.
# - **¿… tengo contornos de parcelas?** `arset parcels`, o `parcels.read("farm.gpkg")` en la sección 10.
# - **¿… dos parcelas de un cultivo son un solo segmento?** Prueba un `level` más pequeño, escenas de 10 m u otro `method`; `parcels.score_outlines` compara con contornos que conoces.
# - **¿… tengo dinero para etiquetas?** Primero sortea una muestra para las superficies. Gasta el resto en los lugares que nombra `active.next_places`.
# - **¿… quiero los vectores de otra red, como Presto?** Descarga tú sus pesos y calcula un vector para cada fila de la tabla. `embeddings.as_sensor(table, vectors, study.season)` los acepta igual que los de un ráster. El curso no contiene esos pesos, así que no hemos medido cuánto mejoran.
# - **¿… quiero seguir?** Toma tu propio lugar: sección 1, `source = "mine.toml"`. Lo que necesita una verdad conocida se omite, o se hace con las etiquetas, y se dice.
