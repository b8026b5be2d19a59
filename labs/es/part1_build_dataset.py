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

# %% [markdown] made_from="ab3b16f9"
# # Práctica 1 · De las escenas y las etiquetas a la tabla de píxeles
#
# :::{admonition} De un vistazo
# :class: lab-header
# **Pregunta.** Las imágenes de satélite llegan en fechas irregulares, y las nubes ocultan partes de ellas. ¿Cómo se convierten en una tabla con la que un modelo pueda aprender?
#
# **Producto.** Una *tabla de píxeles*: una fila por píxel de etiqueta y año, con los valores de todas sus imágenes. Con ella, la práctica 2 forma lotes (*batches*) para un modelo.
#
# **Al terminar sabrás**
# - buscar escenas de Sentinel-2 y etiquetas de cultivos para un área, y decir qué descartó cada filtro;
# - comprobarlas en mapas, en tablas y en la serie de un píxel antes de usarlas;
# - construir la tabla con Spark, consultarla con SQL y comprobarla;
# - reconocer los errores que ponen valores falsos en una tabla así sin ningún mensaje de error.
#
# **Tiempo.** Unos 75 minutos, con una pausa después de la sección 6. **Necesitas** Python, y saber qué son la reflectancia y el NDVI. No hace falta conocer Spark.
# :::
#
# Cada actividad tiene cuatro partes. *Predice*: responde la pregunta antes de ejecutar la celda. *Ejecuta* la celda. *Lee* la explicación. *Comprueba*: un `assert` verifica lo que dice la explicación.
# La práctica funciona en Google Colab, en Databricks y en una computadora portátil. La primera celda dice qué le falta a tu máquina para las prácticas, y qué comando lo instala.

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

# %% [markdown] made_from="2f9f5fb6"
# ## 1. Elige los datos
#
# Una línea decide de dónde vienen los datos. `"simulated"` toma el delta simulado: un lugar pequeño que hace un programa. Sus archivos tienen el formato de los reales, así que el código de abajo sirve también para datos reales.
# `"real"` toma datos de los servicios públicos: escenas de Sentinel-2 de Earth Search y la *Cropland Data Layer* del USDA. También puedes dar el nombre de tu propio archivo de estudio. Las celdas que siguen a esta no cambian.
# Los archivos se escriben en la carpeta `data`, o en la carpeta que indica la variable de entorno `ARSET_DATA`. En Databricks, da una carpeta de un volumen.
#
# :::{admonition} Datos simulados
# :class: simulated
# Si no cambias la línea, ningún dato de esta práctica viene de un satélite. Todas las figuras dicen *simulado*. En una máquina nueva, la celda hace primero el delta simulado; tarda uno o dos minutos.
# :::

# %% made_from="7c289f8c"
from arsetlib import lab

source = "simulated"  # o "real", o tu archivo de estudio, "mine.toml"
here = lab.place(source)
sample = source == "simulated"  # algunos assert valen solo para el ejemplo
study, year = here.study, here.year
print(here)

# %% [markdown] made_from="e87f4895"
# ## 2. Tres fuentes, en pocas palabras
#
# **Sentinel-2** es un grupo de tres satélites, cada uno con una cámara de 13 bandas. Usamos el *nivel 2A* (*Level-2A*): la reflectancia en el suelo, sin el efecto de la atmósfera. Sus archivos contienen números enteros: reflectancia × 10,000.
#
# **SCL**, la capa de clasificación de escena (*scene classification layer*), acompaña a las bandas. Da a cada píxel una clase, como vegetación, suelo desnudo, agua, nube o sombra. Con ella decidimos qué píxeles descartar.
#
# **CDL**, la capa de datos de tierras de cultivo (*Cropland Data Layer*) de USDA-NASS, dice qué creció en un año en cada píxel de Estados Unidos. En el curso da las etiquetas, y la tabla de píxeles usa su cuadrícula de 30 m. Un estudio con otras etiquetas usa la cuadrícula de esas etiquetas.
# La CDL es un mapa que hizo un clasificador, así que tiene errores. Se publica meses después de la cosecha. Por eso queremos predecir durante la temporada.
#
# :::{admonition} Predice
# :class: predict
# Un píxel de etiqueta de la CDL mide 30 m de ancho. ¿Cuántas de las bandas tienen píxeles de 30 m o menos?
# :::

# %% made_from="26d0cb17"
import pandas as pd

from arsetlib import figures, maps, sentinel2, wording

bands = pd.DataFrame([vars(sentinel2.BANDS[b]) for b in study.bands])
alt = "Las bandas del estudio: longitud de onda y ancho en nm, lado del píxel en m"
figures.show(bands, alt)

# %% made_from="83e32e81"
fine = (bands["resolution_m"] <= 30).sum()
print(f"{fine} de {len(bands)} bandas tienen píxeles de 30 m o menos")
assert "B10" not in set(bands["esa"])  # cirros: no está en el nivel 2A
assert fine > 0

# %% [markdown] made_from="a1c1e253"
# La línea impresa es la respuesta. En las bandas de 60 m, un píxel es mayor que un píxel de etiqueta de 30 m, así que píxeles de etiqueta vecinos comparten su valor. Falta la banda B10, porque no muestra el suelo.
#
# ## 3. Busca escenas y etiquetas
#
# Preguntas a un servicio *STAC*: ¿qué imágenes muestran una parte de esta área en este período? Responde con elementos (*items*). Cada uno contiene la huella, la fecha, la nubosidad y un enlace por banda. Todavía no se descarga ninguna imagen.
# La lista de elementos se guarda. Así, una ejecución posterior usa exactamente las mismas escenas, aunque el servicio haya cambiado.
#
# :::{admonition} Predice
# :class: predict
# ¿Por qué puede un catálogo contener dos veces la misma imagen, y cuál de las dos quieres?
# :::

# %% made_from="bfe3691a"
scenes = here.scenes()
labels = here.labels()
print(f"{len(scenes)} escenas. Descartadas:")
print(wording.shown(pd.Series(scenes.dropped)).to_string())

one_each = {(s.day, s.tile, s.platform, s.datetime) for s in scenes}
assert len(one_each) == len(scenes), "una imagen está dos veces en la lista"

# %% [markdown] made_from="35376ec3"
# Las líneas cuentan las escenas que descartó cada filtro. La línea «procesamiento anterior» responde la pregunta: la ESA procesa de nuevo su archivo de vez en cuando, y un catálogo puede contener las dos versiones. Queremos la más nueva, y el `assert` comprueba que cada imagen está una sola vez en la lista.
#
# :::{admonition} Predice
# :class: predict
# Dos de los satélites juntos pasan cada cinco días en cada órbita. ¿Hay cinco días entre una fecha y la siguiente en nuestras áreas?
# :::

# %% made_from="ff813f7e"
import numpy as np

figures.show(
    figures.timeline(scenes, study=study),
    "Nubosidad de cada escena según su fecha, por tesela",
)

# %% made_from="9be7da94"
new_year = np.datetime64(f"{year}-01-01").astype(int)  # días desde 1970-01-01
this_year = [s for s in scenes if 0 <= s.day - new_year < 366]
dates = np.unique([s.day for s in this_year])
gaps = np.diff(dates)
print(f"{len(this_year)} escenas en {len(dates)} fechas de {year}")
print(f"de una fecha a la siguiente: de {gaps.min()} a {gaps.max()} días")
assert len(set(gaps.tolist())) > 1, "las fechas son regulares"

# %% [markdown] made_from="d938c508"
# No: el número de días entre una fecha y la siguiente cambia. Donde se superponen dos órbitas, un lugar se ve más veces, y dos teselas pueden mostrar un mismo lugar el mismo día. Además, las nubes ocultan algunas fechas, distintas en cada píxel.
# Por eso las series ópticas son *irregulares en el tiempo*. Todo el curso trata de esto.
#
# :::{admonition} Ejercicio 1
# :class: exercise
# Cuenta las fechas del año que tienen una escena con menos del 20 % de nubes. ¿Cuántos días hay entre ellas en promedio, y cuál es el hueco más largo de mayo a agosto?
# :::

# %% tags=["hide-cell"] made_from="7e38b9bf"
# Solución
clear_days = np.unique(
    [s.day for s in this_year if s.cloud is not None and s.cloud < 20]
)
since = clear_days - new_year
summer = clear_days[(since >= 120) & (since < 243)]
apart = np.diff(clear_days).mean()
print(
    f"{len(clear_days)} fechas despejadas; en promedio, cada {apart:.1f} días"
)
print(f"hueco más largo de mayo a agosto: {np.diff(summer).max()} días")

# %% [markdown] made_from="acb27f60"
# ## 4. Mira antes de calcular
#
# Primero, el mapa. Pasa el puntero por encima para ver nombres, elige un área en su menú y haz clic en su leyenda para ocultar una capa.

# %% made_from="f2fde989"
fig = figures.footprints(scenes, study.areas, study=study, labels=labels[year])
figures.show(
    fig,
    "Mapa de huellas de escenas, áreas y etiquetas de cultivos, ejes en km",
)

# %% [markdown] made_from="a02af6ba"
# Las escenas tienen la proyección de su propia zona UTM. Las etiquetas y las áreas tienen la proyección de la cuadrícula de etiquetas. Donde las dos son distintas, los contornos de las escenas están girados respecto a los de las áreas. Para combinarlas hay que convertir coordenadas, y ahí se comete a menudo el primer error.
#
# :::{admonition} Predice
# :class: predict
# Para pedir un área a un servicio necesitas su contorno en longitud y latitud. ¿Basta convertir dos esquinas opuestas?
# :::

# %% made_from="06d37302"
import shapely
from pyproj import CRS, Transformer

area = study.areas[0]
west, south, east, north = area.bounds
to_lonlat = Transformer.from_crs(area.crs, "EPSG:4326", always_xy=True)
lon, lat = to_lonlat.transform([west, east], [south, north])
two_corners = shapely.box(lon[0], lat[0], lon[1], lat[1])

# %% made_from="dfe510e9"
whole = area.outline("EPSG:4326")
missed = whole.difference(two_corners).area / whole.area
print(
    f"Con dos esquinas falta el {missed:.1%} de {area.name.get('es', area.key)}"
)
assert missed > 0 or CRS(area.crs).is_geographic

# %% [markdown] made_from="7d677c3f"
# No basta, salvo si el área se da en grados. El área es un rectángulo en su propia proyección. En longitud y latitud sus lados están girados y curvados, así que con dos esquinas se pierden los bordes. Los cuadernos originales hacían esto, y perdían una franja de cada área sin ningún mensaje.
# `area.outline` pone puntos a lo largo de cada lado y los convierte todos.
#
# Ahora, una escena. Tomamos las de mitad de temporada que muestran más áreas, y de ellas la que tiene menos nubes. El color verdadero muestra lo que vería un ojo. El falso color muestra el infrarrojo cercano como rojo, y las hojas reflejan mucho infrarrojo cercano.

# %% made_from="2fa1f910"
scene, view = figures.clear_view(scenes, study, year)
fig = figures.chip(
    scene, view, figures.TRUE_COLOUR, figures.FALSE_COLOUR, study=study
)
figures.show(fig, "Una escena despejada en color verdadero y en falso color")

# %% [markdown] made_from="74bce93b"
# Las parcelas son manchas con bordes rectos. En falso color, un cultivo en crecimiento es rojo, y el suelo desnudo y los pueblos son grises o verde azulados.
# Una sola fecha no puede separar cultivos que ese día están todos verdes. Sí pueden separarlos las fechas en que se ponen verdes y se secan, que muestra la sección 6.
#
# ## 5. Las etiquetas
#
# :::{admonition} Predice
# :class: predict
# Mira la imagen en falso color: ¿qué cobertura del suelo tiene la mayor superficie?
# :::

# %% made_from="8a72d618"
fig = figures.labels_map(labels[year], view, study=study)
figures.show(
    fig,
    "Etiquetas de cultivos de las clases mayores, y su leyenda",
)

# %% made_from="2f948f6b"
land = maps.class_areas(labels[year], study.areas, study)
figures.show(
    figures.class_bars(land, study=study),
    "Hectáreas de cada clase de etiqueta, en todas las áreas o en una",
)

# %% made_from="a0ae8efd"
figures.show(
    land.head(40).drop(columns="pixels"),
    "Superficie por área y clase; haz clic en una columna para ordenar",
)
per_pixel = land["hectares"] / land["pixels"]
assert np.allclose(per_pixel, per_pixel.iloc[0])  # un solo tamaño de píxel

# %% made_from="c2bdff19"
of_class = land.groupby("name")["hectares"].sum().sort_values(ascending=False)
share = of_class / of_class.sum()
print(f"la clase mayor de todas las áreas: {share.index[0]}")
print(f"las cinco mayores de {len(share)} clases: {share[:5].sum():.0%}")
if sample:
    assert share[:5].sum() > 0.5

# %% [markdown] made_from="353e60e1"
# La primera línea impresa responde la pregunta. En el delta, unas pocas clases ocupan la mayor parte de la superficie, como muestra la segunda línea, y muchas clases pequeñas ocupan el resto. Una clase pequeña da a un modelo pocos ejemplos de los que aprender.
# La CDL tiene más de cien códigos. La *leyenda* de un estudio los agrupa en clases. La leyenda del delta tiene cuatro cultivos, «Otros cultivos» para los demás y «No cultivado» para todo lo que no es un cultivo. Ningún código de etiqueta pertenece a su clase «Sin cultivo en pie»: la práctica 2 deduce esta clase de las imágenes.
# Un doble cultivo, como trigo y después soja, tiene dos respuestas correctas en un año. Por eso la leyenda lo *deja fuera*.

# %% made_from="04e27944"
by_class = land.groupby("class")[["pixels", "hectares"]].sum()
by_class = by_class.sort_values("hectares", ascending=False).reset_index()
figures.show(by_class, "Superficie por clase de la leyenda")

# %% made_from="6e654bba"
fig = figures.labels_map(labels[year], view, study=study, legend=study.legend)
figures.show(fig, "Las mismas etiquetas, agrupadas en las clases de la leyenda")

codes = land["code"].to_numpy()
taken = codes[study.legend.classes_of(codes) >= 0]
assert not np.isin(taken, study.legend.excluded).any()
if sample:
    assert sum(c.crop for c in study.legend.classes if c.codes) == 5

# %% [markdown] made_from="982093e2"
# :::{admonition} Ejercicio 2
# :class: exercise
# Con las etiquetas viene la *confianza* (de 0 a 100) del clasificador que las hizo. ¿Cuántos píxeles de etiqueta se descartarían si exigieras al menos 60? ¿Es igual la proporción en todas las clases? ¿Y en los bordes de las parcelas?
# Pista: `maps.read(path, area)` da los píxeles de un área.
# :::

# %% tags=["hide-cell"] made_from="82efb8db"
# Solución. Un píxel está en un borde si uno de sus 8 vecinos tiene otro código.
from scipy import ndimage

if labels[year].confidence:
    parts = []
    for a in study.areas:
        code = maps.read(labels[year].path, a)[0]
        at_edge = ndimage.maximum_filter(code, 3) != ndimage.minimum_filter(
            code, 3
        )
        low = maps.read(labels[year].confidence, a)[0] < 60
        parts.append([v.ravel() for v in (code, at_edge, low)])
    code, at_edge, low = map(np.concatenate, zip(*parts, strict=True))
    print(
        f"se descartan {low.sum():,} de {low.size:,} píxeles ({low.mean():.1%})"
    )
    print(f"en bordes {low[at_edge].mean():.1%}, ", end="")
    print(f"en el resto {low[~at_edge].mean():.1%}")
    classes = np.array([*study.legend.names(), "se deja fuera"])
    classes = classes[study.legend.classes_of(code.astype(int))]
    of_class = pd.Series(100 * low).groupby(classes).mean().round(1)
    print(of_class.rename("porcentaje descartado").to_string())
    if sample:
        assert low[at_edge].mean() > low[~at_edge].mean()

# %% [markdown] made_from="8d73fd09"
# La proporción no es igual en todas partes. En el delta, una confianza baja es mucho más frecuente en los bordes de las parcelas. Un umbral alto da etiquetas con menos errores, pero una muestra sesgada: tiene menos píxeles mixtos que el mapa que harás.
#
# ## 6. Un píxel a lo largo del año, a mano
#
# La biblioteca hace esto con millones de píxeles. Antes, hazlo tú una vez: toma un punto, abre cada archivo de cada escena y lee el valor en el punto.

# %% made_from="07587fa8"
import rasterio
from rasterio.warp import transform


def by_hand(scene, xs, ys, crs):
    """Una escena en puntos: (puntos, 1 + bandas), SCL y reflectancia × 10,000."""
    columns = []
    for asset in ("scl", *study.bands):
        with rasterio.open(here.file(scene, asset)) as image:
            points = np.transpose(transform(crs, image.crs, xs, ys))
            dn = np.array([v[0] for v in image.sample(points)], np.uint16)
        if asset != "scl":
            dn = sentinel2.reflectance_dn(dn, scene.offset)
        columns.append(dn)
    return np.stack(columns, axis=1)


# %% [markdown] made_from="e8dc6e97"
# Tomamos un píxel de cada uno de los cultivos más comunes de un área.

# %% made_from="2644928c"
points = maps.examples(labels[year], here.box, study=study)
figures.show(
    points, "Un píxel de etiqueta de cada uno de los cultivos más comunes"
)
xs, ys = points["x"], points["y"]

# %% made_from="198c093c"
import time

started = time.perf_counter()
raw = [by_hand(s, xs, ys, points.attrs["crs"]) for s in this_year]
raw = np.stack(raw, axis=1)  # (puntos, escenas, 1 + bandas)
seconds = time.perf_counter() - started
print(f"{len(xs)} píxeles, {len(this_year)} escenas: {seconds:.1f} s")
print(f"{seconds / len(xs):.2f} s por píxel y año")

# %% [markdown] made_from="1b647ab5"
# Funciona, y es lento: cada archivo se abre para unos pocos puntos, y se abre otra vez para los siguientes. El curso original tardaba aún más: descargaba cada archivo entero y después lo leía punto por punto.
# La biblioteca invierte el orden de los bucles. Una tarea es un trozo (*chunk*) de la cuadrícula de etiquetas: abre cada archivo una vez y lee solo la parte que necesita.
#
# Esto es lo que leímos. El panel superior muestra todas las observaciones. El panel inferior muestra las que quedan cuando el filtro del estudio ha descartado algunas clases de escena. La forma y el color de un símbolo indican su clase de escena.
#
# :::{admonition} Predice
# :class: predict
# ¿Qué hace una nube con el NDVI: lo sube o lo baja?
# :::

# %% made_from="a842026c"
day = np.array([s.day for s in this_year])


def draw(pixel):
    there = raw[pixel, :, 0] > 0  # SCL 0: fuera de la imagen
    seen = raw[pixel, there]
    title = f"Un píxel de {points['name'][pixel]}, {year}"
    scl, bands = seen[:, 0], seen[:, 1:]
    return figures.series(day[there], scl, bands, study=study, title=title)


alt = "NDVI de un píxel en el año, sin filtrar y filtrado por clase de escena."
figures.knob(
    draw, alt, pixel={name: i for i, name in enumerate(points["name"])}
)

# %% made_from="20284ae7"
there = raw[:, :, 0] > 0
scl, values = raw[:, :, 0][there], raw[there][:, 1:]
red, nir = (values[:, study.bands.index(b)] for b in ("red", "nir"))
cloudy = np.isin(scl, (8, 9))
ndvi = maps.ndvi(red, nir)
print(f"mediana del NDVI: {np.median(ndvi[cloudy]):.2f} bajo nubes,")
print(
    f"                  {np.median(ndvi[scl == 4]):.2f} donde la SCL dice vegetación"
)
assert np.median(ndvi[cloudy]) < np.median(ndvi[scl == 4])
if sample:
    assert abs(np.median(ndvi[cloudy])) < 0.2

# %% made_from="308027c5"
pixel_of, when = np.nonzero(there)  # como en scl, red, nir y ndvi
for pixel, name in enumerate(points["name"]):
    of_it = (pixel_of == pixel) & (scl == 4)  # vegetación
    greenest = ndvi[of_it] >= 0.8 * ndvi[of_it].max(initial=-1)
    green = day[when[of_it][greenest]].astype("M8[D]")
    middle = " ".join(map(str, green[len(green) // 2 :][:1]))
    print(f"{name}: {len(green)} fechas más verdes, la del medio {middle}")
    assert (np.diff(green.astype(int)) >= 0).all()

# %% [markdown] made_from="e57d6737"
# Una nube baja el NDVI. Refleja más o menos lo mismo en el rojo que en el infrarrojo cercano. Por eso, en el delta, el NDVI bajo las nubes es casi cero, como muestra la primera línea. Elige otro cultivo en el menú: la serie sin filtrar esconde la temporada, y la filtrada la muestra.
# Las últimas líneas dicen cuándo está más verde cada uno de estos píxeles. Un modelo puede separar cultivos con esas fechas, si son distintas.
#
# Después del filtro quedan algunos valores bajos. La forma de sus símbolos indica su clase de escena. La tabla siguiente dice qué clases descarta el estudio. El estudio del curso conserva la sombra de nube (3), el agua (6) y los cirros finos (10), como el curso original. Un modelo que usa la serie entera tiene que tolerar los valores bajos que quedan.

# %% tags=["hide-input"] made_from="2699aea9"
counted = pd.DataFrame(
    {
        "SCL": list(sentinel2.SCL),
        "clase": [c.title() for c in sentinel2.SCL.values()],
        "filtro": [
            "descartada" if v in study.drop_scl else "conservada"
            for v in sentinel2.SCL
        ],
        "observaciones": [int((scl == v).sum()) for v in sentinel2.SCL],
    }
)
figures.show(
    counted, "Clases de escena: conservadas o descartadas, y sus observaciones"
)

# %% made_from="1de0f218"
kept = counted.loc[counted["filtro"] == "conservada", "observaciones"].sum()
print(
    f"{kept} de {counted['observaciones'].sum()} observaciones pasan el filtro"
)
assert 0 < kept < counted["observaciones"].sum()
if sample:
    assert not {3, 6, 10} & set(study.drop_scl)

# %% [markdown] made_from="e72e3a34"
# :::{admonition} Ejercicio 3
# :class: exercise
# Descarta también la sombra de nube (3) y los cirros finos (10). ¿Cuántas observaciones más se descartan? ¿Es más suave la serie que queda de un píxel? `study.replace(drop_scl=…)` da un estudio con otro filtro.
# :::

# %% tags=["hide-cell"] made_from="f43a7aaa"
# Solución
strict = study.replace(drop_scl=tuple(sorted({*study.drop_scl, 3, 10})))
inside = raw[0, :, 0] > 0
fig = figures.series(
    day[inside],
    raw[0, inside, 0],
    raw[0, inside, 1:],
    study=strict,
    title=f"{points['name'][0]}, filtro estricto",
)
figures.show(fig, "El mismo píxel, también sin sombras ni cirros")
more = np.isin(scl, (3, 10)) & ~np.isin(scl, study.drop_scl)
print(f"se descartan {more.sum()} más de {kept} observaciones")

# %% [markdown] made_from="50407f4d"
# ### Dos errores en los números
#
# **Los ceros.** En estos archivos 0 significa *sin datos*. El NDVI de dos ceros es NaN, y los enteros sin signo no pueden ser negativos: 200 − 500 da 65,236.
#
# **El desplazamiento** (*offset*). Desde la versión de procesamiento 04.00, los archivos contienen reflectancia × 10,000 *más 1,000*. Es así en las escenas desde enero de 2022, y en las anteriores que se procesaron de nuevo. Los metadatos y el archivo lo dicen, pero si lo olvidas no aparece ningún error.
#
# :::{admonition} Predice
# :class: predict
# ¿Qué da `(nir - red) / (nir + red)` para agua con rojo 500 e infrarrojo cercano 200, guardados como `uint16`? ¿Y para un píxel sin datos?
# :::

# %% made_from="9cda479b"
red = np.array([600, 500, 0], np.uint16)  # un cultivo, agua, sin datos
nir = np.array([3000, 200, 0], np.uint16)
with np.errstate(invalid="ignore"):
    naive = (nir - red) / (nir + red)
print("sin cuidado ", naive)
print("con cuidado ", maps.ndvi(red, nir))
print(
    "olvidado    ", maps.ndvi(red + 1000, nir + 1000), "con el desplazamiento"
)

right, late = maps.ndvi(red, nir), maps.ndvi(red + 1000, nir + 1000)
assert naive[1] > 1 > 0 > right[1]
assert np.isnan(right[2])
assert (abs(late[:2]) < abs(right[:2])).all()

# %% made_from="60518f2b"
offsets = pd.Series([s.offset for s in scenes]).value_counts()
print("escenas por desplazamiento:", offsets.to_dict())
assert set(offsets.index) <= {0, -1000}

# %% [markdown] made_from="b903fa08"
# Con los enteros tal como se guardan, la fórmula da al agua un NDVI mayor que 1, lo que es imposible. Para un píxel sin datos la respuesta es NaN: el original escribía −100, y el paso siguiente lo usaba como un valor. Un desplazamiento olvidado acerca el NDVI a cero, como muestra la última línea. Eso pasa solo en algunas escenas, así que un modelo aprendería la fecha del procesamiento.
# La biblioteca lee el desplazamiento en los metadatos de cada escena y lo compara con los valores de la escena. Donde los dos se contradicen, sigue a los valores, y lo anota en la tabla.
#
# :::{admonition} Un buen momento para una pausa
# :class: tip
# Aquí termina la primera mitad. El delta simulado y la lista de escenas se conservan. Después de la pausa, ejecuta otra vez las celdas desde el principio.
# :::
#
# ## 7. Una fila por píxel y año
#
# Una tabla podría tener una fila por *observación*. Pero un modelo necesita la temporada entera de un píxel, y para reunirla habría que ordenar miles de millones de filas. Por eso una fila es un píxel en un año:
#
# | columna | qué contiene |
# |---|---|
# | `pixel`, `year` | qué píxel de etiqueta y qué año: juntos identifican una fila |
# | `area`, `block` | para una división que deje píxeles vecinos en el mismo conjunto |
# | `x`, `y`, `lon`, `lat` | el centro del píxel |
# | `label_code`, `label_confidence` | la etiqueta como *código*: los códigos se agrupan en clases más tarde, porque las clases cambian a menudo |
# | `num_images` | número de observaciones después del filtro |
# | `day`, `scl`, `bands` | cadenas de bytes en orden de fecha: días desde 1970, clase de escena, reflectancia |
#
# Dos años de un píxel son dos filas, porque el cultivo puede cambiar.
#
# ## 8. Ejecútalo con Spark
#
# Spark divide el trabajo en tareas y las ejecuta en los núcleos de una computadora portátil o en las máquinas de un clúster. La llamada es la misma en los dos casos.
# Aquí una tarea es un trozo en un año. Lee primero la SCL y se salta las escenas que solo tienen nubes sobre su trozo. Después lee las partes que necesita y escribe un archivo Parquet. Si el trabajo se interrumpe, los trozos terminados se conservan.

# %% made_from="b2477d97"
from arsetlib import engine, folders
from arsetlib.ingest import ingest

spark = engine.session()  # en Databricks: la del cuaderno
out = here.table_path
folders.remove(out)  # para que haya trabajo que hacer
summary = ingest(study, scenes, labels, out, spark=spark, progress=here.bars)
print(summary)
assert summary.rows > 0

# %% made_from="78aaf8fe"
by_hand_s, job_s = seconds / len(xs), summary.seconds / summary.rows
print(f"a mano {by_hand_s:.3f} s por píxel y año; con Spark {job_s:.4f} s")
if sample:
    assert job_s < by_hand_s

# %% [markdown] made_from="f6e002bf"
# Las líneas dicen qué descartó cada filtro de *observaciones*. «observaciones repetidas en un día» cuenta los lugares que dos teselas muestran en el mismo momento: basta una observación. La última línea muestra lo que se gana al leer por trozos.
#
# ¿Es la fila de la biblioteca igual a lo que leímos a mano? Filtra de la misma manera el primer píxel de la sección 6, y compara.

# %% made_from="ea2f6048"
import pyarrow.compute as pc

from arsetlib import pixels

table = pixels.read(out, filter=(pc.field("year") == year))
side = points.attrs["side"]  # de un píxel de etiqueta, m
first_pixel = pixels.pixel_id(np.array(xs[:1]), np.array(ys[:1]), side)
row = table["pixel"].to_pylist().index(int(first_pixel[0]))
lib_day, lib_scl, lib_bands = pixels.series(table, row)

# %% made_from="fae82aa6"
mine = raw[0]
good = ~np.isin(mine[:, 0], (0, *study.drop_scl))
good &= (mine[:, 1:] > 0).all(axis=1)
_, first = np.unique(day[good], return_index=True)  # una observación al día

assert np.array_equal(lib_day, day[good][first])
assert np.array_equal(lib_scl, mine[good][first, 0])
assert np.array_equal(lib_bands, mine[good][first, 1:])
print(f"coinciden {len(lib_day)} observaciones × {len(study.bands)} bandas")

# %% [markdown] made_from="386ad604"
# Coinciden exactamente.
#
# :::{admonition} Ejercicio 4
# :class: exercise
# Llama otra vez a `ingest` con los mismos argumentos. ¿Qué hace, y cuánto tarda? ¿Por qué es útil en una máquina que se detiene después de una hora?
# :::

# %% tags=["hide-cell"] made_from="577f60cb"
# Solución
again = ingest(study, scenes, labels, out, spark=spark, progress=False)
print(f"{again.resumed} de {again.chunks} trozos ya estaban terminados")
print(f"{again.seconds:.2f} s")
assert (again.rows, again.resumed) == (summary.rows, again.chunks)

# %% [markdown] made_from="3767af75"
# ### Una lectura fallida es un error, nunca ceros
#
# El original capturaba cada excepción y seguía, así que una descarga fallida dejaba un hueco en los datos que nadie veía. Otros fallos daban un error poco claro: si el servicio de etiquetas CropScape no respondía, un `IndexError`. Un archivo guardado recibía dos veces su extensión, así que el paso siguiente no lo encontraba.
# Rompe un enlace y mira qué pasa aquí.

# %% made_from="40250fa1"
from dataclasses import replace

from arsetlib.catalogue import Scenes
from arsetlib.ingest import IngestError

one = study.replace(areas=study.areas[:1], years=(year,))
covers = [s for s in this_year if s.footprint.covers(one.areas[0].outline())]
clearest = min(covers, key=lambda s: s.cloud or 0)
broken = replace(clearest, hrefs=clearest.hrefs | {"nir": "gone.tif"})

# %% made_from="2fb7fa92"
import textwrap

error_text = ""
try:
    ingest(one, Scenes((broken,)), labels, here.work / "broken", progress=False)
except IngestError as error:
    error_text = str(error)
print(textwrap.fill(error_text, 79))

assert "nir" in error_text
with np.testing.assert_raises(Exception):
    pixels.read(here.work / "broken")  # una lectura fallida no da tabla

# %% [markdown] made_from="020ce877"
# El mensaje dice qué falló, dónde, y qué hacer ahora. No hay tabla: el último `assert` intenta leerla. Si una tabla se puede leer, está completa.
#
# ## 9. ¿Por qué cadenas de bytes?
#
# Decodifica una a mano. Una cadena de bytes no contiene su tipo, así que tienes que conocerlo: enteros sin signo de 16 bits, con el byte bajo primero (`"<u2"`).
#
# :::{admonition} Predice
# :class: predict
# Las tablas del curso original tienen el byte alto primero (`">u2"`). ¿Aparece un error si confundes los dos órdenes?
# :::

# %% made_from="d70d7eb6"
text = table["bands"][row].as_py()
decoded = np.frombuffer(text, "<u2").reshape(-1, len(study.bands))
swapped = np.frombuffer(text, ">u2").reshape(-1, len(study.bands))
red_band = study.bands.index("red")
print(f"{len(text)} bytes")
print(f"rojo, bien leído: {decoded[:4, red_band]}")
print(f"rojo, mal leído:  {swapped[:4, red_band]}")

assert np.array_equal(decoded, lib_bands)
assert np.array_equal(swapped, decoded.byteswap())

# %% [markdown] made_from="45cb09e1"
# No hay error: obtienes números equivocados. Por eso los archivos de una tabla guardan en sus metadatos el orden de los bytes, el orden de las bandas y la escala, y `pixels.read` los comprueba. (`pixels.read_arset` lee los archivos del curso original.)
#
# Ahora, mide. Escribe las mismas series una vez como cadenas de bytes y otra como listas con tipo, con la misma compresión:

# %% tags=["hide-input"] made_from="76c56d2f"
import pyarrow as pa
import pyarrow.parquet as pq

table = pixels.read(out)
flat = pixels.ragged(table)
width = len(study.bands)


def as_lists(offsets, values):
    return pa.LargeListArray.from_arrays(offsets, pa.array(values.ravel()))


lists = pa.table(
    {
        "day": as_lists(flat.offsets, flat.day),
        "scl": as_lists(flat.offsets, flat.scl),
        "bands": as_lists(flat.offsets * width, flat.bands),
    }
)
byte_strings = table.select(["day", "scl", "bands"])


# %% made_from="4d4028ba"
def measure(content, path):
    """Megabytes en disco, y milisegundos de la más rápida de 7 lecturas."""
    pq.write_table(content, path, compression="zstd")
    seconds = []
    for _ in range(7):
        started = time.perf_counter()
        pq.read_table(path, use_threads=False)
        seconds.append(time.perf_counter() - started)
    return path.stat().st_size / 1e6, 1000 * min(seconds)


# %% made_from="a64e2123"
file = here.work / "measured.parquet"
bytes_mb, bytes_ms = measure(byte_strings, file)
lists_mb, lists_ms = measure(lists, file)
measured = pd.DataFrame(
    {"MB en disco": [bytes_mb, lists_mb], "ms al leer": [bytes_ms, lists_ms]},
    index=["cadenas de bytes", "listas con tipo"],
)
figures.show(
    measured.reset_index(names="serie como"), "Tamaño y tiempo de lectura"
)

assert here.small or bytes_ms < lists_ms  # una tabla pequeña no se puede medir
assert 0.7 < bytes_mb / lists_mb < 1.4

# %% [markdown] made_from="f1e749f0"
# En disco ocupan casi lo mismo, porque las dos están comprimidas. El tiempo de lectura es distinto, porque una cadena de bytes se copia y los números de una lista se decodifican uno por uno. Un entrenamiento puede leer su tabla muchas veces.
# En la memoria, una columna de Arrow con cadenas de bytes es un solo búfer largo con las posiciones donde empieza cada fila. `pixels.ragged` da todas las observaciones de todos los píxeles como arreglos sobre este búfer, sin copiarlo.
#
# ## 10. Consulta la tabla
#
# Muchos programas leen Parquet. Haz la misma consulta dos veces: con Spark, que también funciona en un clúster, y con DuckDB, que funciona en una máquina.

# %% made_from="12b4e9b9"
from arsetlib import copies

files = copies.fetched(out).resolve()  # de una tabla en un almacén: una copia
spark.read.parquet(str(files)).createOrReplaceTempView("pixels")
print(textwrap.dedent(pixels.QUERIES["classes"]))
from_spark = spark.sql(pixels.QUERIES["classes"]).toPandas()
figures.show(
    from_spark, "Píxeles-año por código de etiqueta y año, con Spark SQL"
)

assert from_spark["pixel_years"].sum() == summary.rows

# %% made_from="4e254a1f"
import duckdb

duckdb.read_parquet(f"{files}/*.parquet").create_view("pixels", replace=True)
from_duckdb = duckdb.sql(pixels.QUERIES["classes"]).df()
figures.show(
    duckdb.sql(pixels.QUERIES["areas"]).df(),
    "Áreas y años de la tabla, con DuckDB",
)
assert from_duckdb["pixel_years"].tolist() == from_spark["pixel_years"].tolist()

# %% [markdown] made_from="c7eb6222"
# Los dos dan los mismos recuentos, como comprueba el `assert`. DuckDB no necesita un clúster; Spark puede usar también cien máquinas.
# Mira el número medio de imágenes. Puede cambiar de un año a otro, por las nubes, y de un área a otra, porque algunas áreas están donde se superponen dos órbitas.
#
# :::{admonition} Ejercicio 5
# :class: exercise
# Una *observación* es un píxel en una fecha. Escribe una sola consulta: ¿cuántas observaciones hay en cada área y año, y cuántas imágenes tiene el píxel que más tiene? `num_images` cuenta las observaciones de una fila, y `scl` contiene un byte por cada una. ¿Coinciden las dos formas de contar?
# :::

# %% tags=["hide-cell"] made_from="641b01ee"
# Solución
seen = duckdb.sql("""
    SELECT area, year, sum(num_images)::bigint AS observations,
           sum(octet_length(scl))::bigint AS bytes_of_scl, max(num_images) AS most
    FROM pixels GROUP BY area, year ORDER BY area, year
""").df()
figures.show(seen, "Observaciones por área y año, con DuckDB")
assert (seen["observations"] == seen["bytes_of_scl"]).all()

# %% [markdown] made_from="1a173425"
# ## 11. Comprueba la tabla
#
# ¿Notarías una sola serie cuyas fechas están desordenadas? `pixels.check` comprueba en cada fila las reglas que necesita el resto del curso.

# %% made_from="9c190153"
report = pixels.check(out)
print(report)
assert report.ok

# %% [markdown] made_from="cced2cfc"
# ## Lo que has aprendido
#
# - Las series ópticas son irregulares a causa de las órbitas, las teselas y las nubes. Guárdalas como son; hazlas regulares cuando un modelo lo necesite (práctica 2).
# - Una fila es un píxel en un año; las series son cadenas de bytes en orden de fecha; las etiquetas siguen siendo códigos.
# - Los filtros actúan sobre escenas, sobre observaciones y sobre etiquetas, y cada uno debe decir qué descartó.
# - Errores sin mensaje: dos esquinas como contorno, ceros usados como valores, un desplazamiento olvidado, un orden de bytes equivocado, una lectura fallida guardada como ceros, una imagen contada dos veces.
#
# ## ¿Y si…?
#
# - **¿… trabajo fuera de Estados Unidos?** Usa tus propias etiquetas, como ráster, como parcelas o como puntos: el archivo de estudio `own_labels.toml` muestra cómo. Después pon en `source`, en la sección 1, tu archivo de estudio; ninguna otra celda cambia.
# - **¿… la CDL se equivoca?** Se equivoca, en algunos píxeles. Exige una confianza mayor, o averigua qué clases confunde. Un modelo aprende también los errores sistemáticos de sus etiquetas.
# - **¿… quiero datos reales?** Pon `source = "real"` en la sección 1. Para empezar, obtienes un área pequeña y un año. Las etiquetas de un año vienen en un archivo nacional de unos 2 GB (10 GB con píxeles de 10 m), que se descarga una vez.
# - **¿… mi máquina se detiene a la mitad?** Haz la misma llamada otra vez: los trozos terminados se usan de nuevo.
# - **¿… necesito radar, Landsat, datos meteorológicos?** Cualquier serie con fechas se puede guardar como cadena de bytes. La tabla tiene entonces más columnas, y el resto de la canalización no cambia.
# - **¿… quiero hacer mapas de inundaciones o de sequías?** Solo cambian las etiquetas.
